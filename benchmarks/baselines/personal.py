"""Models of clients' own beside FedAvg's one model, on unlike clients."""

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
from benchmarks.baselines.training import Run, last

_ACCURACY = "seen_accuracy_mean"
_WORST = "seen_accuracy_p10"
# The settings of the others, for the one that is not personal.
_AS_THEY = (
    "--dirichlet_alpha=0.1",
    "--client_test_fraction=0.25",
    "--eval_clients=seen",
)
_FLAGS = {
    "fed_avg": _AS_THEY,
    "fine_tune": (),
    "fed_per": (),
    "fed_rep": (),
    "ditto": (),
}


class Personal(Group):
    """Clients' own accuracy on digits, Dirichlet 0.1."""

    title = "Personal models at Dirichlet 0.1"

    def train(self, measure: Measure, seeds: int) -> None:
        """Trains each algorithm.

        Args:
          measure: Trains one run with one seed.
          seeds: The number of seeds.
        """
        for name, flags in _FLAGS.items():
            run = Run(
                name,
                f"algorithms/{name}.flags",
                last(_ACCURACY, _WORST),
                [*flags, "--rounds_per_eval=30"],
            )
            for seed in range(seeds):
                measure(run, seed)

    def section(self, recall: Recall) -> Sequence[str]:
        """Puts the figures in words.

        Args:
          recall: Finds figures.
        """
        rows = [
            [
                f"`configs/algorithms/{name}.flags`",
                " ".join(flags).replace("--", "") or "-",
                spread(recall(name, _ACCURACY), 3),
                spread(recall(name, _WORST), 3),
            ]
            for name, flags in _FLAGS.items()
        ]
        gains = {
            name: 100
            * (
                mean(recall(name, _ACCURACY))
                - mean(recall("fed_avg", _ACCURACY))
            )
            for name in ("fed_rep", "ditto")
        }
        words = ", ".join(f"{k} {v:+.1f} points" for k, v in gains.items())
        return [
            _SETTING,
            table(["", "more flags", "mean", "worst tenth"], rows),
            f"Beside fed_avg: {words} (asked for: one of them above it): "
            f"{verdict(max(gains.values()) > 0)}.",
        ]


_SETTING = """\
PFLlib's leaderboard has Ditto 97.5% and FedAvg 85.9% on Fashion-MNIST, 20
clients, Dirichlet 0.1, best of 2,000 rounds; that is hours. Here the
quickstart's digits, 20 clients, 10 a round, 30 rounds, a quarter of each
client's examples held out: the ordering can be compared, the figures cannot.
Accuracy on clients' own test examples in the last round, mean over clients, and
that of the worst tenth."""
