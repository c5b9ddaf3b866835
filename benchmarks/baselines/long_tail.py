"""The median where nobody is hostile and classes are rare, on MNIST."""

from collections.abc import Mapping, Sequence

from benchmarks.baselines.bucketing_data import as_tasks
from benchmarks.baselines.group import (
    Group,
    Measure,
    Recall,
    mean,
    table,
    verdict,
)
from benchmarks.baselines.training import Run, rows_of
from tff_pipeline.config import ExperimentConfig
from tff_pipeline.runs.directory import RunDirectory

_FLAGFILE = "../benchmarks/baselines/long_tail.flags"
_FIGURE = "eval_accuracy"
_LAST = 5
_MEDIAN = "--byzantine_clients=0"
# Name of a run -> its flags, and the paper's accuracy in % with its deviation
# over three seeds, from the logs of its runs.
_CELLS: Mapping[str, tuple[Sequence[str], float, float]] = {
    "mean": (("--aggregator=mean",), 98.75, 0.02),
    "CM": (("--aggregator=median", _MEDIAN), 80.36, 0.04),
    "CM, s=2": (
        ("--aggregator=bucketing+median", "--bucket_size=2", _MEDIAN),
        95.59,
        0.73,
    ),
}
# What is allowed beside the paper's deviation, in points.
_BAND = 1.0


class LongTail(Group):
    """Accuracy without attackers, mean of the last five evaluations."""

    title = "The median and rare classes without attackers"

    def train(self, measure: Measure, seeds: int) -> None:
        """Trains all cells with one seed.

        Args:
          measure: Trains one run with one seed.
          seeds: Not used.
        """
        with as_tasks():
            for name, (flags, *_) in _CELLS.items():
                measure(Run(name, _FLAGFILE, last_ones, flags, "mnist"), 0)

    def section(self, recall: Recall) -> Sequence[str]:
        """Puts the figures in words.

        Args:
          recall: Finds figures.
        """
        rows = []
        for name, (_, published, deviation) in _CELLS.items():
            found = [100 * each for each in recall(name, _FIGURE)]
            near = abs(mean(found) - published) <= deviation + _BAND
            rows.append(
                [
                    *(name, f"{published:.2f} +- {deviation:.2f}"),
                    *(f"{mean(found):.2f}", verdict(near)),
                ]
            )
        header = ["aggregator", "paper, %", "here, one seed, %", "within 1"]
        return [_SETTING, table(header, rows)]


def last_ones(
    _: ExperimentConfig, directory: RunDirectory
) -> Mapping[str, float]:
    """Takes the mean accuracy of a run's last evaluations.

    Args:
      directory: The run's directory.
    """
    found = [row[_FIGURE] for row in rows_of(directory) if _FIGURE in row]
    return {_FIGURE: mean(found[-_LAST:])}


_SETTING = """\
Karimireddy, He, Jaggi 2022 (arXiv:2006.09365), experiment 1, not IID, from the
logs of its runs: 24 honest clients with examples of one or two digits each,
class i has .5^i of its examples, one step a round, no momentum. Its runs have
2,250 rounds and test the digits 0 to 3 alone (`long_tail.flags` and
`bucketing_data.py` say why), of which the median learns two."""
