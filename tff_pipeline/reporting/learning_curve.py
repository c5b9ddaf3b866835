"""The learning curve of a run, drawn from its metrics.csv."""

import io
import os
from collections.abc import Sequence
from typing import Any

from tff_pipeline.config.run import SEEN
from tff_pipeline.files import durable, storage
from tff_pipeline.reporting import personal_text
from tff_pipeline.runs import metrics_file
from tff_pipeline.runs.metric_names import TEST, VALIDATION
from tff_pipeline.training.finish import FinishContext


def finish(context: FinishContext) -> None:
    """Draws the learning curve of the run that ended, as a finisher.

    Args:
      context: The run; its picture goes to `directory.learning_curve`.

    Raises:
      RunDirectoryError: If the picture cannot be written.
    """
    directory = context.directory
    draw(directory.metrics, directory.learning_curve, context.config.data.task)


def draw(metrics_csv: str, path: str, title: str) -> None:
    """Draws every train and evaluation metric over rounds.

    Args:
      metrics_csv: A run's metrics.csv with at least one row.
      path: The PNG to write.
      title: The text above it.

    Raises:
      RunDirectoryError: If the picture cannot be written.
    """
    # Imported here, since scripts that draw nothing need not wait for it.
    from matplotlib.figure import Figure

    rows = metrics_file.read(metrics_csv)
    names = list(
        dict.fromkeys(
            name.partition("_")[2]
            for row in rows
            for name in row
            if name.startswith(("train_", TEST, VALIDATION))
        )
    )
    own = personal_text.compared_metrics(rows)
    columns, lines = max(len(names), len(own)), 2 if own else 1
    figure = Figure(figsize=(5 * columns, 3.5 * lines), layout="constrained")
    axes = figure.subplots(lines, columns, squeeze=False)
    figure.suptitle(title)
    for axis in axes.flat:
        axis.set_visible(False)
    for axis, name in zip(axes[0], names):
        for part, words in (
            ("train", "training clients of the round"),
            ("eval", "central test set"),
            ("validation", "validation set"),
        ):
            points = [
                (row["round"], row[f"{part}_{name}"])
                for row in rows
                if f"{part}_{name}" in row
            ]
            if points:
                axis.plot(*zip(*points), label=words, linewidth=1.2)
        _finish(axis, name)
    for axis, name in zip(axes[-1], own):
        _draw_own(axis, rows, name)
        _finish(axis, f"{name}, client by client")
    picture = io.BytesIO()
    figure.savefig(picture, dpi=120, format="png")
    with durable.explained(path):
        storage.file_system(path).make_folder(os.path.dirname(path))
    durable.write_bytes(path, picture.getvalue())


def _draw_own(axis: Any, rows: Sequence[metrics_file.Row], name: str) -> None:
    """Draws clients' own models and the one of all, over clients."""
    start = f"{SEEN}_{name}"
    measured = [row for row in rows if f"{start}_global" in row]
    rounds = [row["round"] for row in measured]

    def column(statistic: str) -> list[float]:
        return [row[f"{start}_{statistic}"] for row in measured]

    words = "own models: mean, 10% to 90%"
    axis.plot(rounds, column("mean"), label=words, linewidth=1.2)
    axis.fill_between(rounds, column("p10"), column("p90"), alpha=0.2)
    words = "one model for all: mean"
    axis.plot(rounds, column("global"), label=words, linewidth=1.2)


def _finish(axis: Any, name: str) -> None:
    axis.set_visible(True)
    axis.set_xlabel("round")
    axis.set_ylabel(name)
    axis.grid(alpha=0.3)
    axis.legend(frameon=False)
