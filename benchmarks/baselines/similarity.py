"""SCAFFOLD beside FedAvg on clients of few classes each."""

import math
from collections.abc import Mapping, Sequence

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
from tff_pipeline.config import ExperimentConfig
from tff_pipeline.runs.directory import RunDirectory

PUBLISHED = {"fed_avg": 258, "scaffold": 77}
# Each is about three times the one before.
RATES = ("0.1", "0.3", "1.0", "3.0", "10.0")
# The paper's, and one that is harder to reach on these data.
TARGETS = (0.5, 0.65)
# Rounds of a run.
_MOST = 150


class ZeroSimilarity(Group):
    """Rounds to a test accuracy on pooled FEMNIST, sorted by label."""

    title = "SCAFFOLD and FedAvg at 0% similarity"

    def train(self, measure: Measure, seeds: int) -> None:
        """Finds the best rate of each on seed 0, and trains other seeds.

        Args:
          measure: Trains one run with one seed.
          seeds: The number of seeds.
        """
        for name in PUBLISHED:
            figures = {rate: measure(_run(name, rate), 0) for rate in RATES}
            for target in TARGETS:
                best = _best(
                    {
                        rate: each[rounds_name(target)]
                        for rate, each in figures.items()
                    }
                )
                for seed in range(1, seeds):
                    measure(_run(name, best), seed)

    def section(self, recall: Recall) -> Sequence[str]:
        """Puts the figures in words.

        Args:
          recall: Finds figures.
        """
        parts = [_SETTING]
        for target in TARGETS:
            rows, bests = [], {}
            for name, published in PUBLISHED.items():
                values = {
                    rate: recall(f"{name} at {rate}", rounds_name(target))
                    for rate in RATES
                }
                best = _best({rate: v[0] for rate, v in values.items() if v})
                bests[name] = values[best]
                grid = ", ".join(
                    f"{v[0]:.0f} ({rate})" for rate, v in values.items() if v
                )
                rows.append(
                    [
                        f"`femnist_logistic_{name}.flags`",
                        str(published) if target == TARGETS[0] else "-",
                        spread(values[best], 1),
                        best,
                        grid.replace("inf", f"not in {_MOST}"),
                    ]
                )
            header = ["", "paper", "here", "rate", "seed 0, by rate"]
            parts += [
                f"Rounds to a test accuracy of {target:g}:",
                table(header, rows),
                f"{_compared(bests['scaffold'], bests['fed_avg'])} (paper, to "
                f"0.5: {77 / 258:.2f}; asked for: at most a third).",
            ]
        return [*parts, _REMARK]


def _compared(scaffold: Sequence[float], fed_avg: Sequence[float]) -> str:
    """Says which share of FedAvg's rounds SCAFFOLD takes, on average.

    Args:
      scaffold: The rounds of SCAFFOLD, seed by seed.
      fed_avg: Those of FedAvg; all that it had count where they were too few.
    """
    share = mean(scaffold) / mean([min(each, _MOST) for each in fed_avg])
    if math.isinf(share):
        return f"SCAFFOLD does not always reach it: {verdict(False)}"
    limit = "at most " if math.inf in fed_avg else ""
    return (
        f"SCAFFOLD takes {limit}{share:.2f} of FedAvg's rounds: "
        f"{verdict(share <= 1 / 3)}"
    )


def _best(rounds: Mapping[str, float]) -> str:
    """Returns the rate with the fewest rounds, the lowest of equals."""
    return min(rounds, key=lambda rate: rounds[rate])


def _run(name: str, rate: str) -> Run:
    return Run(
        f"{name} at {rate}",
        f"papers/karimireddy2020/femnist_logistic_{name}.flags",
        rounds_to("eval_accuracy", *TARGETS),
        [f"--client_learning_rate={rate}"],
        "femnist",
    )


def rounds_name(target: float) -> str:
    """Names the figure of the rounds to a target.

    Args:
      target: The target.
    """
    return f"rounds to {target:g}"


def rounds_to(column: str, *targets: float) -> Figures:
    """Returns a function that finds the rounds to each target.

    Args:
      column: The column of metrics.csv that has to reach it.
      *targets: The targets.
    """

    def figures(
        _: ExperimentConfig, directory: RunDirectory
    ) -> dict[str, float]:
        rows = rows_of(directory)
        return {
            rounds_name(target): reached(rows, column, target)
            for target in targets
        }

    return figures


_SETTING = """\
Karimireddy et al. 2020 (arXiv:1910.06378): logistic regression, 100 clients, 20
a round, 5 steps of a fifth of a client's examples, rounds to 50% test accuracy
at the best rate of a grid. The paper has EMNIST; here the 41,495 characters of
FEMNIST's 300 writers are pooled, sorted by label and cut into 100 parts
(`--partition=shards` with one shard a client, which is 0% similarity), so that
ratios can be compared and rounds cannot. Each grid has factors of 3, and its
best was found on seed 0, by the test set, as the paper does; 150 rounds at
most."""
_REMARK = """\
Seven in ten of these characters are digits, and half of the test set is right
after a few rounds, in which SCAFFOLD has met many clients once or not at all
and so has no control variates of theirs. That is why there is a second target,
chosen when the first was seen to be so easy; there, too, SCAFFOLD saves half of
the rounds and not two thirds. Whether the paper's ratio needs its larger data
(EMNIST has twenty times as many characters) was not tried."""
