"""Writes clients to an SQLite file that `sqlite` and TFF can read."""

import json
import sqlite3
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple, Optional

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from tff_pipeline import errors
from tff_pipeline.files import durable

Array = npt.NDArray[Any]

_SCHEMA = """
CREATE TABLE examples (
  split_name TEXT NOT NULL,
  client_id TEXT NOT NULL,
  serialized_example_proto BLOB NOT NULL
);
CREATE TABLE client_metadata (
  client_id TEXT NOT NULL,
  split_name TEXT NOT NULL,
  num_examples INTEGER NOT NULL
);
CREATE TABLE features (
  name TEXT NOT NULL, dtype TEXT NOT NULL, shape TEXT NOT NULL
);
CREATE TABLE class_names (class_id INTEGER NOT NULL, name TEXT NOT NULL);
"""
_INDEX = """
CREATE INDEX examples_of_client ON examples (client_id, split_name);
INSERT INTO client_metadata
  SELECT client_id, split_name, COUNT(*) FROM examples
  GROUP BY client_id, split_name;
"""


class Row(NamedTuple):
    """One example of a client.

    Attributes:
      client_id: The client's name.
      split: "train" or "test".
      x: The input.
      y: The label.
    """

    client_id: str
    split: str
    x: Array
    y: Array


def write(
    path: str, rows: Iterable[Row], class_names: Optional[Sequence[str]]
) -> int:
    """Writes examples to a file, which appears when it is complete.

    Args:
      path: The file, which is replaced if it exists.
      rows: The examples, at least one; `x` and `y`, of uint8, int32 or
        float32, have the same types and shapes in all.
      class_names: The classes' names, if `y` holds classes.

    Returns:
      The number of examples.

    Raises:
      DataError: If there are no examples, or their types or shapes differ.
      RunDirectoryError: If the file cannot be written.
    """
    with durable.new_file(path) as temporary:
        connection = sqlite3.connect(temporary)
        try:
            count = _fill(connection, path, rows, class_names or ())
        except sqlite3.Error as error:
            raise OSError(f"SQLite: {error}") from error
        finally:
            connection.close()
    return count


def _fill(
    connection: sqlite3.Connection,
    path: str,
    rows: Iterable[Row],
    class_names: Sequence[str],
) -> int:
    # The file has another name until it is complete: no journal is needed.
    connection.executescript("PRAGMA journal_mode = OFF;" + _SCHEMA)
    specs: dict[str, tuple[str, tuple[int, ...]]] = {}
    count = 0
    with connection:
        for row in rows:
            values = {"x": np.asarray(row.x), "y": np.asarray(row.y)}
            for name, value in values.items():
                spec = (value.dtype.name, value.shape)
                if specs.setdefault(name, spec) != spec:
                    raise errors.DataError(
                        f"Example {count + 1}, of client {row.client_id!r}, "
                        f"has {name} as {spec[0]} of shape {spec[1]}, not "
                        f"{specs[name][0]} of shape {specs[name][1]}; "
                        f"{path} needs all alike."
                    )
            connection.execute(
                "INSERT INTO examples VALUES (?, ?, ?)",
                (row.split, row.client_id, serialize(values)),
            )
            count += 1
        if not count:
            raise errors.DataError(f"There are no examples to write to {path}.")
        connection.executemany(
            "INSERT INTO features VALUES (?, ?, ?)",
            [
                (name, dtype, json.dumps(shape))
                for name, (dtype, shape) in specs.items()
            ],
        )
        connection.executemany(
            "INSERT INTO class_names VALUES (?, ?)", enumerate(class_names)
        )
    connection.executescript(_INDEX)
    return count


def serialize(values: dict[str, Array]) -> bytes:
    """Serializes arrays as a `tf.train.Example`.

    Example:
      >>> message = serialize({"y": np.array([3, 4])})
      >>> example = tf.train.Example.FromString(message)
      >>> example.features.feature["y"].int64_list.value
      [3, 4]

    Args:
      values: Feature's name -> array of floats, bytes or whole numbers.

    Returns:
      The serialized message, the same bytes for the same values.
    """
    features = {}
    for name, value in values.items():
        flat = value.reshape(-1)
        if value.dtype.kind in "OS":
            feature = tf.train.Feature(
                bytes_list=tf.train.BytesList(value=flat.tolist())
            )
        elif value.dtype.kind == "f":
            feature = tf.train.Feature(
                float_list=tf.train.FloatList(value=flat)
            )
        else:
            feature = tf.train.Feature(
                int64_list=tf.train.Int64List(value=flat)
            )
        features[name] = feature
    example = tf.train.Example(features=tf.train.Features(feature=features))
    return example.SerializeToString(deterministic=True)
