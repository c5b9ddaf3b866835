"""FLamby's Fed-Heart-Disease: six algorithms, four hospitals."""

from collections.abc import Sequence

from benchmarks.baselines.group import (
    Group,
    Measure,
    Recall,
    row_of_published,
    spread,
    table,
)
from benchmarks.baselines.training import Run, last

_COLUMN = "seen_accuracy_mean"
# Name -> FLamby's mean and deviation over its five seeds. That of FedProx is
# computed from flamby/results/results_benchmark_fed_heart_disease, seeds 42 to
# 46, as all the others can be.
PUBLISHED = {
    "fed_avg": (0.685, 0.025),
    "fed_prox": (0.685, 0.025),
    "fed_adam": (0.726, 0.012),
    "fed_yogi": (0.731, 0.011),
    "fed_adagrad": (0.731, 0.011),
    "scaffold": (0.684, 0.025),
}
# Name -> the algorithm, and the flags that make it another.
_OTHERWISE = {
    "fed_yogi, means corrected": (
        "fed_yogi",
        (
            "--server_optimizer=yogi",
            "--server_yogi_epsilon=1e-8",
            "--server_yogi_initial_accumulator=0",
        ),
    ),
    "fed_adagrad, beta_1 0": (
        "fed_adagrad",
        ("--server_fedadagrad_beta_1=0",),
    ),
}


class Heart(Group):
    """Six algorithms on four hospitals, five seeds."""

    title = "FLamby's Fed-Heart-Disease"

    def train(self, measure: Measure, seeds: int) -> None:
        """Trains each algorithm.

        Args:
          measure: Trains one run with one seed.
          seeds: Not used: FLamby has five.
        """
        del seeds
        runs = {name: (name, ()) for name in PUBLISHED}
        for name, (algorithm, flags) in {**runs, **_OTHERWISE}.items():
            run = Run(
                name,
                f"papers/flamby2022/heart_{algorithm}.flags",
                last(_COLUMN),
                flags,
                "heart_disease",
            )
            for seed in range(5):
                measure(run, seed)

    def section(self, recall: Recall) -> Sequence[str]:
        """Puts the figures in words.

        Args:
          recall: Finds figures.
        """
        rows = [
            row_of_published(
                f"heart_{name}.flags", *published, recall(name, _COLUMN), 3
            )
            for name, published in PUBLISHED.items()
        ]
        header = ["", "FLamby", "here", "within two deviations"]
        corrected = recall("fed_yogi, means corrected", _COLUMN)
        without = recall("fed_adagrad, beta_1 0", _COLUMN)
        return [
            _SETTING,
            table(header, rows),
            f"{_YOGI} {spread(corrected, 3)}. {_MOMENTUM} "
            f"{spread(without, 3)}.",
        ]


_YOGI = """\
With `--server_optimizer=yogi`, which is TFF's and corrects its means' start,
FedYogi gives"""
_MOMENTUM = """\
FLamby's FedAdagrad has momentum at the server, beta_1 0.9, and so has ours
above; with `--server_fedadagrad_beta_1=0`, as in the experiments of Reddi et
al. 2021, it gives"""
_SETTING = """\
Ogier du Terrail et al. 2022 (arXiv:2210.04620): logistic regression of 13
inputs, four hospitals, B=4, 100 steps x 15 rounds, five seeds. The figure is
the mean over hospitals of the accuracy on its own test patients
(`seen_accuracy_mean`). FLamby's FedProx (mu 0.01) has the figures of its
FedAvg, seed by seed: with steps so small the proximal term changes no
prediction."""
