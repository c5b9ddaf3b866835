"""One cell of `bucketing` in byzfl, with the same settings."""

import dataclasses
import json
import os
import subprocess
import tempfile
from collections.abc import Mapping, Sequence

import numpy as np

from benchmarks.baselines import bucketing
from benchmarks.baselines.bucketing_data import as_tasks
from benchmarks.baselines.group import Group, Measure, Recall, spread, table
from benchmarks.contenders import ROOT, Contender
from tff_pipeline import errors
from tff_pipeline.assembly.task import initial_weights, load_task
from tff_pipeline.config import ExperimentConfig

BYZFL = Contender(
    "byzfl", "byzfl", "byzfl_bucketing", ("byzfl", "torch"), "byzfl"
)
_CELL = ("RFA", "BF", 2)
_NAME = "RFA, BF, s=2, byzfl"


class ByzflBeside(Group):
    """The accuracy of one seed, beside ours and the paper's."""

    title = "One cell of bucketing in byzfl"

    def train(self, measure: Measure, seeds: int) -> None:
        """Trains the cell in byzfl with the first seed.

        Args:
          measure: Trains one run with one seed.
          seeds: Not used.

        Raises:
          ConfigError: If byzfl is not installed.
        """
        run = dataclasses.replace(
            bucketing.run_of(*_CELL), name=_NAME, elsewhere=_train
        )
        with as_tasks():
            measure(run, 0)

    def section(self, recall: Recall) -> Sequence[str]:
        """Puts the figures in words.

        Args:
          recall: Finds figures.
        """
        ours = recall(bucketing.name_of(*_CELL), bucketing.FIGURE, "bucketing")
        theirs = recall(_NAME, bucketing.FIGURE)
        rows = [
            ["the paper's logs", f"{bucketing.STABLE[_CELL]:.1f} (3 seeds)"],
            ["here", spread([100 * each for each in ours], 1)],
            ["byzfl 0.0.11", spread([100 * each for each in theirs], 1)],
        ]
        seconds = recall(_NAME, "seconds")
        took = f"byzfl took {seconds[0]:.0f} s."
        return [_SETTING, table(["RFA, BF, s=2", "accuracy, %"], rows), took]


def _train(config: ExperimentConfig) -> Mapping[str, float]:
    """Trains as a config says, in a process of byzfl's environment."""
    if not BYZFL.installed:
        raise errors.ConfigError(
            f"byzfl is not installed in {os.path.dirname(BYZFL.python)}; "
            "run make benchmark-peers PYTHON=/path/to/python3.11, or name "
            "other groups with --only."
        )
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "cell.npz")
        np.savez(path, **_given(config))
        done = subprocess.run(
            [
                BYZFL.python,
                "-m",
                f"benchmarks.contenders.{BYZFL.module}",
                path,
            ],
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": ROOT},
            stdout=subprocess.PIPE,
            text=True,
            check=False,
        )
    if done.returncode:
        raise errors.TrainingError(
            f"byzfl ended with exit status {done.returncode}; its own message "
            "stands above."
        )
    return dict(json.loads(done.stdout.splitlines()[-1]))


def _given(config: ExperimentConfig) -> Mapping[str, np.ndarray]:
    """Returns settings, first weights, examples, and who has which of them."""
    task = load_task(config)
    weights = initial_weights(task, config.run.seed).trainable
    clients, aggregation = config.clients, config.aggregation
    ids = list(task.train.client_ids)
    examples = [task.train.load(each) for each in ids]
    ends = np.cumsum([0, *map(len, examples)])
    settings = {
        "seed": config.run.seed,
        "rounds": config.run.total_rounds,
        "clients": len(ids),
        "attackers": [ids.index(each) for each in config.attack.client_ids],
        "batch_size": clients.batch_size,
        # Gradients are sent, not updates: see `bucketing`.
        "rate": clients.optimizer.learning_rate,
        "nu": aggregation.weiszfeld_nu / clients.optimizer.learning_rate,
        "momentum": clients.kept_momentum,
        "iterations": aggregation.weiszfeld_iterations,
        "bucket_size": aggregation.bucket_size or 0,
    }
    return {
        "settings": np.array(json.dumps(settings)),
        "x": np.concatenate([each.x for each in examples]),
        "y": np.concatenate([each.y for each in examples]),
        "test_x": task.test.x,
        "test_y": task.test.y,
        **{f"weight_{i}": np.asarray(w) for i, w in enumerate(weights)},
        **{
            f"client_{i}": np.arange(*span)
            for i, span in enumerate(zip(ends, ends[1:]))
        },
    }


_SETTING = """\
Geometric median after buckets of two, bit flips: the cell above in PyTorch with
byzfl's `GeometricMedian`, `Bucketing` and `SignFlipping` (`make
benchmark-peers` installs it), and the same clients, first weights and
settings."""
