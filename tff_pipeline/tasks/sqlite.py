"""The task of a user's own clients: an SQLite file of TFF's format."""

from collections.abc import Callable
from typing import Any, Optional

import numpy as np
import numpy.typing as npt

from tff_pipeline import errors, randomness
from tff_pipeline.config.data import DataConfig
from tff_pipeline.datasets.federation import hold_out
from tff_pipeline.datasets.federation.federated_data import (
    Examples,
    FederatedData,
)
from tff_pipeline.datasets.federation.split import Split, draw_clients
from tff_pipeline.datasets.readers import sqlite as files
from tff_pipeline.objectives import targets
from tff_pipeline.tasks import arrays
from tff_pipeline.tasks.task import Task

Array = npt.NDArray[Any]


def sqlite(options: DataConfig, seed: int) -> Task:
    """Returns the task of predicting the feature y from x.

    Only the clients of a round are in memory, and the central test set. Clients
    train on the split "train" and are tested on "test"; where there is no
    "test", on a share of "train". Other splits are not used. The model is that
    of `models.arrays.network_for_shape`; the exported model takes "x".

    Args:
      options: The file, in `data_dir`, and how to read it.
      seed: The experiment's seed, which draws what is held out.

    Raises:
      ConfigError: If flags contradict each other.
      DataError: If the file cannot be read, or does not fit the flags.
    """
    data_dir = options.required_data_dir(
        "an SQLite file of clients in TFF's format "
        "(scripts/prepare_data.py writes one)"
    )
    if options.partition != "natural":
        raise errors.ConfigError(
            f"--partition={options.partition} is not used with --task=sqlite, "
            "whose file says who has what; leave it out."
        )
    database = files.Database(data_dir)
    if "train" not in database.sizes:
        raise errors.DataError(
            f"{database.path} has no split named train; it has: "
            f"{', '.join(database.sizes) or 'none'}."
        )
    names, labels = _labels(database, str(options.task_type))
    return arrays.task("sqlite", _split(database, options, seed, labels), names)


def _labels(
    database: files.Database, task_type: str
) -> tuple[Optional[list[str]], Callable[[Array], Array]]:
    """Returns classes' names, or `None`, and a function that makes labels."""
    if task_type == "regression":
        return None, lambda y: y.reshape(len(y), -1).astype(np.float32)
    names = database.class_names
    source = f"y of {database.path}"
    if names is None:
        splits = [s for s in ("train", "test") if s in database.sizes]
        most = 0
        for part in database.labels(splits):
            if part.dtype.kind == "f" or part.ndim > 1 or part.min() < 0:
                raise errors.DataError(
                    f"{source} is no class number (one whole number from 0 an "
                    "example); choose --task_type=regression, or write it "
                    "again."
                )
            most = max(most, int(part.max()))
            if most > targets.MOST_CLASSES:
                raise errors.DataError(
                    f"{source} holds the class {most}; there may be "
                    f"{targets.MOST_CLASSES} classes, numbered from 0: choose "
                    "--task_type=regression if they are amounts."
                )
        names = [str(number) for number in range(most + 1)]
    targets.check_classes(names, source, fractions=False)
    return names, lambda y: y.astype(np.int32)


def _split(
    database: files.Database,
    options: DataConfig,
    seed: int,
    labels: Callable[[Array], Array],
) -> Split:
    def data(
        clients: list[str],
        splits: list[str],
        chosen: Callable[[str, int], Array],
    ) -> files.SqliteData:
        return files.SqliteData(database, clients, splits, chosen, labels)

    def tested(client: str, count: int) -> Array:
        return hold_out.client_mask(
            count, options.test_fraction or 0.0, seed, files.key(client)
        )

    def first(client: str, places: Array) -> Array:
        most = options.max_examples_per_client
        if most is None or most >= len(places):
            return places
        draw = randomness.generator(seed, "partition", files.key(client))
        return draw.permutation(places)[:most]

    def everything(client: str, count: int) -> Array:
        return np.arange(count)

    trained = list(database.sizes["train"])
    most = options.unseen_clients or 0
    held_out = set(draw_clients(np.array(trained), most, seed).tolist())
    trained = [name for name in trained if name not in held_out]
    if "test" in database.sizes:
        train = data(trained, ["train"], lambda c, n: first(c, np.arange(n)))
        known = [c for c in trained if c in database.sizes["test"]]
        test = data(known, ["test"], everything)
        others = [c for c in database.sizes["test"] if c not in set(trained)]
        unseen = data(
            sorted(held_out.union(others)), ["train", "test"], everything
        )
    else:
        train = data(
            trained,
            ["train"],
            lambda c, n: first(c, np.flatnonzero(~tested(c, n))),
        )
        known = [
            c for c in trained if tested(c, database.sizes["train"][c]).any()
        ]
        test = data(known, ["train"], lambda c, n: np.flatnonzero(tested(c, n)))
        unseen = data(sorted(held_out), ["train"], everything)
    central = test if len(test) else unseen
    if not len(central):
        raise errors.DataError(
            f"No example of {database.path} is left to test on; raise "
            f"--test_fraction={options.test_fraction} or add a split test."
        )
    return Split(
        train,
        _gathered(central, options.max_test_examples, seed),
        test if len(test) else None,
        unseen if len(unseen) else None,
    )


def _gathered(
    clients: FederatedData, most: Optional[int], seed: int
) -> Examples:
    """Returns the clients' examples, or `most` of them, drawn at random."""
    sizes = [clients.size(name) for name in clients.client_ids]
    chosen = np.ones(sum(sizes), bool)
    if most is not None and most < len(chosen):
        draw = randomness.generator(seed, "test")
        chosen[draw.permutation(len(chosen))[most:]] = False
    parts = np.split(chosen, np.cumsum(sizes)[:-1])
    taken = [
        clients.load(name).take(np.flatnonzero(part))
        for name, part in zip(clients.client_ids, parts)
        if part.any()
    ]
    return Examples(
        np.concatenate([each.x for each in taken]),
        np.concatenate([each.y for each in taken]),
    )
