"""Converts a user's data, of several formats, to an SQLite file of clients."""

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Optional, Union

import numpy as np
import numpy.typing as npt

from tff_pipeline import errors
from tff_pipeline.config.data import DataConfig
from tff_pipeline.datasets.readers import (
    arrays,
    image_folder,
    json_lines,
    sqlite_writer,
    table_features,
)
from tff_pipeline.datasets.readers.sqlite_writer import Row
from tff_pipeline.tasks import arrays as array_task
from tff_pipeline.tasks import table as table_task
from tff_pipeline.tasks import table_contents

Array = npt.NDArray[Any]

_JSON = (".jsonl", ".jsonl.gz")
_TABLE_OPTIONS = (
    "client_column",
    "label_column",
    "feature_columns",
    "categorical_columns",
    "min_category_count",
    "missing_values",
    "decimal_mark",
    "split_column",
)


def write(
    source: str,
    output: str,
    options: Mapping[str, Any],
    image_size: Optional[Sequence[int]] = None,
    num_clients: Optional[int] = None,
    *,
    say: Callable[[str], None] = print,
) -> tuple[int, int]:
    """Reads `source` and writes `output`, whole or not at all.

    Numbers become float32 (whole ones of NPZ int32, or uint8 as they are); in a
    table, categories become a 0 or 1 for each. Missing numbers are NaN.

    Args:
      source: A table or a folder of parts of one (see `table_files.find`), an
        NPZ file, a folder of images (see `image_folder.read`), or JSON lines.
      output: The SQLite file.
      options: Fields of `DataConfig` by name: task_type, and for tables those
        that name columns.
      image_size: Height and width in pixels that images are scaled to.
      num_clients: The number of clients that images without folders of clients
        are dealt to.
      say: Called with each remark on images that were changed or left out.

    Returns:
      (the count of examples, the count of clients).

    Raises:
      ConfigError: If an option does not fit the source; the flag is named.
      DataError: If the source is missing or damaged.
    """
    if not os.path.exists(source):
        raise errors.DataError(
            f"{source} does not exist; --input must name a file or a folder."
        )
    lower = source.lower()
    images = os.path.isdir(source) and image_folder.has_images(source)
    tabular = not images and not lower.endswith((*_JSON, ".npz"))
    for name in () if tabular else _TABLE_OPTIONS:
        if name in options:
            raise errors.ConfigError(
                f"--{name}={options[name]} is for tables, which {source} is "
                "not; leave it out."
            )
    if image_size is not None and not images:
        raise errors.ConfigError(
            f"--image_size is for a folder of images, which {source} is not; "
            "leave it out."
        )
    if num_clients is not None and not images:
        raise errors.ConfigError(
            f"--num_clients={num_clients} is for a folder of images without "
            f"folders of clients, which {source} is not; leave it out."
        )
    task_type = options.get("task_type", "classification")
    rows: Iterator[Row]
    names: Optional[Sequence[str]]
    if images:
        if task_type != "classification":
            raise errors.ConfigError(
                f"--task_type={task_type} is not used with a folder of images "
                "by class; leave it out."
            )
        rows, names, notes = image_folder.read(source, image_size, num_clients)
        for note in notes:
            say(note)
    elif tabular:
        rows, names = _table(source, options)
    elif lower.endswith(".npz"):
        rows, names = _arrays(source, task_type)
    else:
        rows, names = _json(source, task_type)
    clients: set[str] = set()

    def counted() -> Iterator[Row]:
        for row in rows:
            clients.add(row.client_id)
            yield row

    examples = sqlite_writer.write(output, counted(), names)
    return examples, len(clients)


def _table(
    source: str, options: Mapping[str, Any]
) -> tuple[Iterator[Row], Optional[list[str]]]:
    config = DataConfig(task="csv", data_dir=source, **options)
    if config.client_column is None:
        raise errors.ConfigError(
            "--client_column is not set; name the column that names each row's "
            "client."
        )
    rows_read = table_contents.read(config)
    everything = np.arange(len(rows_read.y))
    columns: list[Array] = []
    _, features, encoded = table_task.encoded(rows_read, everything, config)
    for feature, values in zip(features, encoded.T):
        if isinstance(feature, table_features.Number):
            columns.append(values)
        else:
            columns += [
                (values == code).astype(np.float32)
                for code in range(feature.codes)
                if (values == code).any()
            ]
    x = np.stack(columns, axis=1)
    assert rows_read.owners is not None
    rows = _rows(rows_read.owners, rows_read, x, rows_read.y)
    return rows, rows_read.class_names


def _arrays(
    source: str, task_type: str
) -> tuple[Iterator[Row], Optional[list[str]]]:
    content = arrays.load(source)
    if content.owners is None:
        raise errors.DataError(
            f"{source} has no array client_id; add one: a text or whole number "
            "an example."
        )
    y, names = array_task.labels(content.y, task_type, source)
    return _rows(content.owners, content, content.x, y), names


def _json(
    source: str, task_type: str
) -> tuple[Iterator[Row], Optional[list[str]]]:
    objects = json_lines.read(source, {})
    inputs, owners, parts = [], [], []
    for number, each in enumerate(objects, start=1):
        for name in ("client_id", "x", "y"):
            if name not in each:
                raise errors.DataError(
                    f"{source}: object {number} has no {name!r}; every line is "
                    "an object with client_id, x and y."
                )
        where = f"{source}: object {number}"
        try:
            with np.errstate(over="ignore"):
                x = np.asarray(each["x"], np.float32)
        except (TypeError, ValueError, OverflowError) as error:
            raise errors.DataError(
                f"{where} has an x that is no number and no list of numbers "
                f"({error}); mend it."
            ) from None
        inputs.append(arrays.as_input(x, f"{where}: x"))
        owners.append(str(each["client_id"]))
        part = each.get("split", "train")
        if part not in ("train", "test", "validation"):
            raise errors.DataError(
                f"{where} has the split {part!r}; it must be train, test or "
                "validation."
            )
        parts.append(part)
    labels = [each["y"] for each in objects]
    kinds = {isinstance(label, str) for label in labels}
    try:
        y = np.asarray(labels, str if kinds == {True} else np.float64)
    except (TypeError, ValueError, OverflowError) as error:
        raise errors.DataError(
            f"{source}: the y of all objects must be numbers, or all text "
            f"({error}); mend it."
        ) from None
    y, names = array_task.labels(y, task_type, source)
    rows = zip(owners, parts, inputs, y)
    return (Row(*row) for row in rows), names


def _rows(
    owners: Array,
    read: Union[arrays.Arrays, table_contents.Contents],
    x: Array,
    y: Array,
) -> Iterator[Row]:
    parts = np.full(len(owners), "train", object)
    for name, rows in (
        ("test", read.is_test),
        ("validation", read.is_validation),
    ):
        if rows is not None:
            parts[rows] = name
    for place, owner in enumerate(owners):
        yield Row(str(owner), parts[place], x[place], y[place])
