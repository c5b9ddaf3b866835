"""FedBuff beside FedAvg on clients of unequal speeds: simulated time."""

from collections.abc import Sequence

from benchmarks.baselines.group import (
    Group,
    Measure,
    Recall,
    mean,
    spread,
    table,
    verdict,
)
from benchmarks.baselines.training import Figures, Run, reached, rows_of

_CLOCKS = {
    "fed_avg": "simulated_seconds",
    "fed_buff": "asynchronous_seconds",
}
_TARGET = 0.94


class Buffered(Group):
    """Simulated time to 94% on digits."""

    title = "FedBuff with lognormal speeds"

    def train(self, measure: Measure, seeds: int) -> None:
        """Trains both.

        Args:
          measure: Trains one run with one seed.
          seeds: The number of seeds.
        """
        for name, clock in _CLOCKS.items():
            path = f"papers/nguyen2022/digits_{name}.flags"
            for seed in range(seeds):
                measure(Run(name, path, _time_by(clock)), seed)

    def section(self, recall: Recall) -> Sequence[str]:
        """Puts the figures in words.

        Args:
          recall: Finds figures.
        """
        rows = [
            [
                f"`digits_{name}.flags`",
                spread(recall(name, "simulated"), 0),
                spread(recall(name, "rounds"), 1),
            ]
            for name in _CLOCKS
        ]
        times = [recall(name, "simulated") for name in _CLOCKS]
        ratio = mean(times[0]) / mean(times[1])
        each = ", ".join(f"{a / b:.2f}" for a, b in zip(*times))
        return [
            _SETTING,
            table(["", "simulated seconds", "steps of the server"], rows),
            f"FedAvg takes {ratio:.2f} times as long as FedBuff (seed by seed: "
            f"{each}; asked for: at least 1.3): {verdict(ratio >= 1.3)}.",
        ]


def _time_by(clock: str) -> Figures:
    """Returns a function that finds the time to the target on a clock."""
    return lambda _, directory: {
        name: reached(rows_of(directory), "eval_accuracy", _TARGET, over)
        for name, over in (("simulated", clock), ("rounds", "round"))
    }


_SETTING = """\
Nguyen et al. 2022 (arXiv:2106.06639) have FedBuff 3.3 times as efficient as
synchronous training, on data that are not public. Here the quickstart's digits,
10 clients under way, a step of the server for each 4 updates; clients' speeds
are lognormal, ten times apart at the tenth and ninetieth percentile. Simulated
time to 94% test accuracy. FedAvg waits for the slowest of each round, with
neither a deadline nor over-selection."""
