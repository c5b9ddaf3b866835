"""Converts a user's data, of several formats, to an SQLite file of clients."""

import collections
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
    json_examples,
    json_files,
    json_values,
    sqlite_writer,
    table_features,
    table_files,
)
from tff_pipeline.datasets.readers.sqlite_writer import Row
from tff_pipeline.tasks import arrays as array_task
from tff_pipeline.tasks import table_contents, table_inputs

Array = npt.NDArray[Any]

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
        NPZ file, a folder of images (see `image_folder.read`), or JSON (see
        `json_examples.read`).
      output: The SQLite file.
      options: Fields of `DataConfig` by name: task_type, and for tables those
        that name columns.
      image_size: Height and width in pixels that images are scaled to, or that
        vectors of JSON have as images.
      num_clients: The number of clients that images without folders of clients
        are dealt to.
      say: Called with each remark on splits, and on images that were changed or
        left out.

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
    json = not images and _is_json(source)
    tabular = not images and not json and not lower.endswith(".npz")
    for name in () if tabular else _TABLE_OPTIONS:
        if name in options:
            raise errors.ConfigError(
                f"--{name}={options[name]} is for tables, which {source} is "
                "not; leave it out."
            )
    if image_size is not None and not images and not json:
        raise errors.ConfigError(
            "--image_size is for a folder of images or for JSON, which "
            f"{source} is not; leave it out."
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
    elif json:
        rows, names = _json(source, task_type, image_size, say)
    else:
        rows, names = _arrays(source, task_type)
    clients: set[str] = set()

    def counted() -> Iterator[Row]:
        for row in rows:
            clients.add(row.client_id)
            yield row

    examples = sqlite_writer.write(output, counted(), names)
    return examples, len(clients)


def _is_json(source: str) -> bool:
    """Returns whether there is JSON, which beside a table describes that."""
    if os.path.isdir(source) and table_files.has_tables(source):
        return False
    return bool(json_files.find(source))


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
    inputs = table_inputs.encoded(rows_read, everything, config)
    widths = map(table_features.width, inputs.features)
    parts = np.split(inputs.x, np.cumsum([*widths])[:-1], axis=1)
    for feature, part in zip(inputs.features, parts):
        if not isinstance(feature, table_features.Category):
            columns.extend(part.T)
        else:
            values = part[:, 0]
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
    source: str,
    task_type: str,
    image_size: Optional[Sequence[int]],
    say: Callable[[str], None],
) -> tuple[Iterator[Row], Optional[list[str]]]:
    """Reads twice: classes are known before the first example is written."""
    values: list[Any] = []
    splits: collections.Counter[str] = collections.Counter()
    for row in json_examples.read(source):
        values.append(row.y)
        splits[row.split] += 1
    y, names = array_task.labels(
        json_values.labels(values, source), task_type, source
    )
    if len(splits) > 1:
        counts = ", ".join(f"{splits[name]} {name}" for name in sorted(splits))
        say(f"Examples by split: {counts}.")
    return (
        row._replace(x=_as_image(row.x, image_size, source), y=label)
        for row, label in zip(json_examples.read(source), y)
    ), names


def _as_image(x: Array, size: Optional[Sequence[int]], source: str) -> Array:
    """Gives a vector the shape of an image, if there is a size for it."""
    if size is None:
        return x
    height, width = size
    channels, rest = divmod(x.size, height * width)
    if x.ndim != 1 or rest or not channels:
        raise errors.ConfigError(
            f"--image_size={height}x{width} does not fit x of shape {x.shape} "
            f"in {source}; it takes vectors of {height * width} numbers, or of "
            "as many for each channel."
        )
    return x.reshape((height, width, channels)[: 2 + (channels > 1)])


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
