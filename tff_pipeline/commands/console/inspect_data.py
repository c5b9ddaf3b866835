"""Shows how a task's examples are spread over clients; trains nothing.

python scripts/inspect_data.py --task=digits_2nn --partition=dirichlet

Takes the flags and flagfiles of train.py. Prints what clients hold, and draws
it to --output.
"""

import typing
from collections.abc import Sequence
from typing import Any

from tff_pipeline.flags import experiment as experiment_flags

if typing.TYPE_CHECKING:
    from tff_pipeline.datasets.federation.census import Census

_CLIENTS = 5
_LABELS = 20
_BAR = 30


def define_flags() -> None:
    """Defines the flags of this command."""
    experiment_flags.define_inspection_flags()


def main() -> None:
    """Prints how examples and labels are spread, and draws it."""
    config, output = experiment_flags.inspection()
    # Here and not above: flags are refused before TensorFlow is imported.
    from tff_pipeline import experiment
    from tff_pipeline.datasets.federation import census
    from tff_pipeline.datasets.readers import column_guard
    from tff_pipeline.evaluation import over_clients
    from tff_pipeline.reporting import partition_picture

    task = experiment.load_task(config)
    data = config.data
    title = f"{data.task}, partition {data.partition}, seed {config.run.seed}"
    x, y = task.test.x, task.test.y
    print(title)
    print(f"input  {_type(x)}\nlabel  {_type(y)}")
    if task.notes:
        print(task.notes)
    if task.columns:
        print(f"\n{column_guard.in_words(task.columns)}")

    train = census.count(task.train, task.padding_label)
    print(f"\n{'':<40}{'clients':>9}{'examples':>11}", end="")
    print("".join(f"{name:>9}" for name in ("min", "median", "mean", "max")))
    _print_sizes("training clients", train.sizes)
    for words, clients in over_clients.client_groups(task).values():
        if clients is not task.train:
            counted = [clients.size(name) for name in clients.client_ids]
            _print_sizes(words, counted)
    print(f"{'central test set':<40}{'':>9}{len(task.test):>11,}")
    if task.validation is not None:
        print(f"{'validation set':<40}{'':>9}{len(task.validation):>11,}")
    if train.labels is not None:
        _print_labels(train.labels, train.counts, task.classes)
        _print_clients(train, task.classes)
    partition_picture.draw(train, output, title)
    print(f"\nPicture  {output}")


def _type(values: Any) -> str:
    """Returns the dtype and shape of one example of an array, in words."""
    shape = " x ".join(map(str, values.shape[1:]))
    return f"{values.dtype.name} {f'[{shape}]' if shape else 'of one number'}"


def _print_sizes(words: str, sizes: Any) -> None:
    import numpy as np

    print(
        f"{words:<40}{len(sizes):>9,}{np.sum(sizes):>11,}{np.min(sizes):>9,}"
        f"{np.median(sizes):>9,.0f}{np.mean(sizes):>9,.1f}{np.max(sizes):>9,}"
    )


def _names(labels: Any, classes: Sequence[str]) -> list[str]:
    """Returns the names of classes, or their numbers if they have no names."""
    return [classes[label] if classes else str(label) for label in labels]


def _print_labels(labels: Any, counts: Any, classes: Sequence[str]) -> None:
    import numpy as np

    totals = np.asarray(counts.sum(axis=0)).ravel()
    holders = counts.getnnz(axis=0)
    shown = np.argsort(-totals, kind="stable")[:_LABELS]
    if len(shown) == len(totals):
        shown = np.arange(len(totals))
    names = _names(labels, classes)
    width = max(7, *map(len, names))
    print(f"\n{'class':>{width}}{'labels':>12}{'share':>8}{'clients':>9}")
    for column in shown:
        share = totals[column] / totals.sum()
        bar = "#" * round(_BAR * totals[column] / totals.max())
        print(
            f"{names[column]:>{width}}{totals[column]:>12,}{share:>8.1%}"
            f"{holders[column]:>9,}  {bar}"
        )
    if len(shown) < len(totals):
        print(f"{'':>{width}}and {len(totals) - len(shown):,} rarer classes")


def _print_clients(train: "Census", classes: Sequence[str]) -> None:
    width = max(map(len, train.client_ids[:_CLIENTS]))
    print("\nFirst clients, as class:labels, the most frequent first")
    for position, name in enumerate(train.client_ids[:_CLIENTS]):
        labels, counts = train.client_labels(position)
        names = _names(labels, classes)
        pairs = [f"{k}:{n}" for k, n in zip(names, counts)][:_LABELS]
        more = len(labels) - len(pairs)
        rest = f" and {more:,} rarer" if more else ""
        print(f"  {name:<{width}}  {' '.join(pairs)}{rest}")
