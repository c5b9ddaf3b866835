"""FedAvg and FedProx on MNIST of Dirichlet 0.5, as Flower's niid_bench."""

from collections.abc import Mapping, Sequence

from benchmarks.baselines.group import (
    Group,
    Measure,
    Recall,
    row_of_published,
    table,
)
from benchmarks.baselines.training import Run
from tff_pipeline.config import ExperimentConfig
from tff_pipeline.runs import metrics_file
from tff_pipeline.runs.directory import RunDirectory

_FIGURE = "best accuracy, %"
# Published after 50 rounds, in %; of FedProx without a deviation.
_PUBLISHED = {"fed_avg": (98.89, 0.07), "fed_prox": (99.02, 0.07)}


def _best(_: ExperimentConfig, directory: RunDirectory) -> Mapping[str, float]:
    rows = metrics_file.read(directory.metrics)
    best = max(row.get("eval_accuracy", 0.0) for row in rows)
    return {_FIGURE: 100 * best}


def _flagfile(name: str) -> str:
    return f"papers/li2022/mnist_dirichlet_{name}.flags"


class Silos(Group):
    """The best accuracy of ten rounds of ten clients."""

    title = "FedAvg and FedProx on MNIST at Dirichlet 0.5"

    def train(self, measure: Measure, seeds: int) -> None:
        """Trains both.

        Args:
          measure: Trains one run with one seed.
          seeds: The number of seeds.
        """
        for seed in range(seeds):
            for name in _PUBLISHED:
                run = Run(name, _flagfile(name), _best, data="mnist")
                measure(run, seed)

    def section(self, recall: Recall) -> Sequence[str]:
        """Puts the figures in words.

        Args:
          recall: Finds figures.
        """
        rows = [
            row_of_published(
                _flagfile(name).rpartition("/")[2],
                *published,
                recall(name, _FIGURE),
                2,
            )
            for name, published in _PUBLISHED.items()
        ]
        return [
            _SETTING,
            table(
                ["", "niid_bench, 50 rounds", "here, 10", "two deviations"],
                rows,
            ),
        ]


_SETTING = """\
Flower's `niid_bench` (Li et al. 2022, arXiv:2102.02079): ten clients, all in
each round, ten local epochs, B=64, momentum 0.9 at rate 0.01, a LeNet; the best
test accuracy of all rounds, in %, which is optimistic. Ten of the 50 rounds,
without the weight decay of 1e-5. Of FedProx no deviation is published; it is
taken to be FedAvg's."""
