"""The task of a user's own clients: an SQLite file of TFF's format."""

import dataclasses
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
from tff_pipeline.datasets.federation.split import (
    Split,
    draw_clients,
    with_validation,
)
from tff_pipeline.datasets.readers import column_descriptions
from tff_pipeline.datasets.readers import sqlite as files
from tff_pipeline.datasets.readers.column_descriptions import Descriptions
from tff_pipeline.objectives import targets
from tff_pipeline.tasks import arrays
from tff_pipeline.tasks.task import Task

Array = npt.NDArray[Any]

_SPLITS = ("train", "test", "validation")


def sqlite(options: DataConfig, seed: int) -> Task:
    """Returns the task of predicting the feature y from x.

    Only the clients of a round are in memory, and the central test set. Clients
    train on the split "train" and are tested on "test"; where there is no
    "test", on a share of "train". A split "validation" is the validation set.
    Other splits are not used. The model is that
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
    descriptions = column_descriptions.read(
        options.categories_file, options.column_bounds_file
    )
    names, labels = _labels(database, str(options.task_type), descriptions)
    source = _Source(database, options, seed, labels)
    return arrays.task("sqlite", _split(source), names, descriptions)


def _labels(
    database: files.Database, task_type: str, descriptions: Descriptions
) -> tuple[Optional[list[str]], Callable[[Array], Array]]:
    """Returns classes' names, or `None`, and a function that makes labels."""
    if task_type == "regression":
        return None, lambda y: y.reshape(len(y), -1).astype(np.float32)
    names = database.class_names
    source = f"y of {database.path}"
    if "y" in descriptions.categories:
        written = dict(enumerate(names or ()))

        def places(y: Array) -> Array:
            text = [written.get(int(label), str(label)) for label in y.ravel()]
            return descriptions.places(np.array(text), "y", source)

        return list(descriptions.categories["y"]), places
    if names is None:
        splits = [s for s in _SPLITS if s in database.sizes]
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


@dataclasses.dataclass(frozen=True)
class _Source:
    """The clients of a file, and which of their examples are used for what."""

    database: files.Database
    options: DataConfig
    seed: int
    labels: Callable[[Array], Array]

    def clients(
        self,
        names: list[str],
        splits: list[str],
        chosen: Callable[[str, int], Array],
    ) -> files.SqliteData:
        """Returns clients; `chosen` picks places among their examples."""
        return files.SqliteData(
            self.database, names, splits, chosen=chosen, labels=self.labels
        )

    def tested(self, client: str, count: int) -> Array:
        """Returns true for examples of "train" that are held out."""
        fraction = self.options.test_fraction or 0.0
        return hold_out.client_mask(
            count, fraction, self.seed, files.key(client)
        )

    def limited(self, client: str, places: Array) -> Array:
        """Returns at most `max_examples_per_client` of the places, drawn."""
        most = self.options.max_examples_per_client
        if most is None or most >= len(places):
            return places
        draw = randomness.generator(self.seed, "partition", files.key(client))
        return draw.permutation(places)[:most]


def _everything(client: str, count: int) -> Array:
    return np.arange(count)


def _split(source: _Source) -> Split:
    """Splits the clients into those that train, are tested, and are unseen."""
    database, options, seed = source.database, source.options, source.seed
    names = list(database.sizes["train"])
    held_out = set(
        draw_clients(
            np.array(names), options.unseen_clients or 0, seed
        ).tolist()
    )
    names = [name for name in names if name not in held_out]
    parts = _by_file if "test" in database.sizes else _by_draw
    train, test, unseen = parts(source, names, held_out)
    central = test if len(test) else unseen
    if not len(central):
        raise errors.DataError(
            f"No example of {database.path} is left to test on; raise "
            f"--test_fraction={options.test_fraction} or add a split test."
        )
    divided = Split(
        train,
        _gathered(central, options.max_test_examples, seed),
        test if len(test) else None,
        unseen if len(unseen) else None,
    )
    if "validation" not in database.sizes:
        return with_validation(divided, options, seed)
    known = set(database.sizes["validation"]).difference(unseen.client_ids)
    if not known:
        raise errors.DataError(
            f"{database.path} has a split validation of clients that never "
            "train alone; add examples of clients that do, or leave it out."
        )
    own = source.clients(sorted(known), ["validation"], _everything)
    return with_validation(
        divided,
        options,
        seed,
        _gathered(own, options.max_test_examples, seed),
    )


def _by_file(
    source: _Source, names: list[str], held_out: set[str]
) -> tuple[files.SqliteData, files.SqliteData, files.SqliteData]:
    """Returns train, test and unseen clients by the file's own splits."""
    tested = source.database.sizes["test"]
    others = [name for name in tested if name not in set(names)]
    return (
        source.clients(
            names, ["train"], lambda c, n: source.limited(c, np.arange(n))
        ),
        source.clients(
            [name for name in names if name in tested], ["test"], _everything
        ),
        source.clients(
            sorted(held_out.union(others)), ["train", "test"], _everything
        ),
    )


def _by_draw(
    source: _Source, names: list[str], held_out: set[str]
) -> tuple[files.SqliteData, files.SqliteData, files.SqliteData]:
    """Returns train, test and unseen clients; a share of "train" is tested."""
    sizes = source.database.sizes["train"]
    return (
        source.clients(
            names,
            ["train"],
            lambda c, n: source.limited(
                c, np.flatnonzero(~source.tested(c, n))
            ),
        ),
        source.clients(
            [name for name in names if source.tested(name, sizes[name]).any()],
            ["train"],
            lambda c, n: np.flatnonzero(source.tested(c, n)),
        ),
        source.clients(sorted(held_out), ["train"], _everything),
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
