"""FedAvg and FedProx where nine of ten devices have too little time."""

import statistics
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
from benchmarks.baselines.training import Run, rows_of
from tff_pipeline.config import ExperimentConfig
from tff_pipeline.runs.directory import RunDirectory

_NAMES = {
    "fed_avg": "drops them",
    "fed_avg_partial": "takes their part, mu 0",
    "fed_prox": "takes their part, mu 1",
}


class Stragglers(Group):
    """Steadiness of the test loss over the last half of the rounds."""

    title = "FedProx under 90% stragglers"

    def train(self, measure: Measure, seeds: int) -> None:
        """Trains each of the three.

        Args:
          measure: Trains one run with one seed.
          seeds: The number of seeds.
        """
        for name in _NAMES:
            path = f"papers/li2020/stragglers_1_1_{name}.flags"
            for seed in range(seeds):
                measure(Run(name, path, _of_last_half), seed)

    def section(self, recall: Recall) -> Sequence[str]:
        """Puts the figures in words.

        Args:
          recall: Finds figures.
        """
        rows = [
            [
                f"`stragglers_1_1_{name}.flags`",
                what,
                spread(recall(name, "swing"), 3),
                spread(recall(name, "loss"), 3),
                spread(recall(name, "accuracy"), 3),
            ]
            for name, what in _NAMES.items()
        ]
        header = ["", "stragglers", "loss's swing", "loss", "accuracy"]
        swings = {name: mean(recall(name, "swing")) for name in _NAMES}
        ratio = swings["fed_avg"] / swings["fed_prox"]
        gain = mean(recall("fed_prox", "accuracy")) - mean(
            recall("fed_avg", "accuracy")
        )
        partial = mean(recall("fed_avg_partial", "accuracy")) - mean(
            recall("fed_prox", "accuracy")
        )
        return [
            _SETTING,
            table(header, rows),
            f"FedAvg's test loss swings {ratio:.1f} times as much as FedProx's "
            "(the paper has curves; asked for: FedProx holds where FedAvg "
            f"oscillates, here taken as at least twice): {verdict(ratio >= 2)}."
            f" FedProx's accuracy is {100 * gain:+.1f} points from FedAvg's "
            "(the paper's +22% is a mean over five data sets). Taking the work "
            "in part does it, not the proximal term: with mu 0 the loss swings "
            f"{swings['fed_avg_partial'] / swings['fed_prox']:.1f} times as "
            f"much as with mu 1, and the accuracy differs by "
            f"{100 * partial:+.1f} points.",
        ]


def _of_last_half(
    _: ExperimentConfig, directory: RunDirectory
) -> dict[str, float]:
    """Measures the test loss and accuracy over the last half of the rounds."""
    rows = [row for row in rows_of(directory) if "eval_loss" in row]
    rows = rows[len(rows) // 2 :]
    losses = [float(row["eval_loss"]) for row in rows]
    steps = [abs(b - a) for a, b in zip(losses, losses[1:])]
    return {
        "swing": statistics.fmean(steps),
        "loss": statistics.fmean(losses),
        "accuracy": statistics.fmean(
            float(row["eval_accuracy"]) for row in rows
        ),
    }


_SETTING = """\
Li et al. 2020 (arXiv:1812.06127), figure 1: Synthetic(1, 1), 30 devices, 10 a
round, 20 epochs, B=10, rate 0.01; each device is a straggler with probability
0.9, and has then time for 1 to 20 epochs. All figures are over the last half of
the rounds: the swing is the mean absolute change of the test loss from one
round to the next. 60 of the paper's 200 rounds, at most 100 examples a
device."""
