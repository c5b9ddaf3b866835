"""Makes models of a table's raw columns from trained models of its rows."""

import keyword
import re
from collections.abc import Sequence

import tensorflow as tf

from tff_pipeline.datasets.readers.table_features import (
    ABSENT,
    Category,
    Feature,
    Number,
    Text,
)
from tff_pipeline.models.hashed_words import hashed_words

# The inputs of a signature are arguments of a function; TensorFlow has taken
# the first of them.
_NO_ARGUMENTS = {"self", *keyword.kwlist}


def serving_model(
    features: Sequence[Feature], model: tf.keras.Model
) -> tf.keras.Model:
    """Makes a model of raw columns from a trained model of rows.

    Args:
      features: The statistics of each column, in the order of a row.
      model: A trained model, such as `two_hidden_layers` makes.

    Returns:
      A model with an input of shape [batch] for each column, named by
      `input_names`: float32 for numbers (NaN is missing) and string for
      categories that are text (any of the feature's `absent` is missing) and
      for free text.
      Booleans may be written as true, True, TRUE and 1, or in the same ways as
      false.
    """
    names = input_names([feature.name for feature in features])
    inputs, columns = {}, []
    for name, feature in zip(names, features):
        if isinstance(feature, Text):
            cells = tf.keras.Input([], dtype=tf.string, name=name)
            columns.append(hashed_words(cells, feature.buckets))
        elif isinstance(feature, Number):
            cells = tf.keras.Input([], name=name)
            columns.append(cells[:, tf.newaxis])
        elif feature.of_numbers:
            cells = tf.keras.Input([], name=name)
            columns.append(_code_of_numbers(cells, feature)[:, tf.newaxis])
        else:
            cells = tf.keras.Input([], dtype=tf.string, name=name)
            columns.append(_code(cells, name, feature)[:, tf.newaxis])
        inputs[name] = cells
    return tf.keras.Model(inputs, model(tf.concat(columns, axis=1)))


def _code(cells: tf.Tensor, name: str, feature: Category) -> tf.Tensor:
    # Column names have no full stop, so no input is called like the layer.
    lookup = tf.keras.layers.StringLookup(
        vocabulary=[*feature.absent, *feature.known],
        mask_token=None,
        # No cell has spaces around it when it is looked up.
        oov_token=" unknown ",
        name=f"{name}.code",
    )
    cells = tf.strings.strip(cells)
    if feature.is_boolean:
        lower = tf.strings.lower(cells)
        for digit, word in (("0", "false"), ("1", "true")):
            lower = tf.where(lower == digit, word, lower)
        cells = tf.where((lower == "false") | (lower == "true"), lower, cells)
    place = lookup(cells)
    # 0 for the unknown, 1 for each word for missing, 2 and up for the known.
    missing = len(feature.absent)
    code = tf.minimum(place, 1) + tf.maximum(place - missing, 0)
    return tf.cast(code, tf.float32)


def _code_of_numbers(cells: tf.Tensor, feature: Category) -> tf.Tensor:
    # No known number equals NaN, and NaN alone does not equal itself.
    equal = cells[:, tf.newaxis] == [list(feature.known)]
    codes = tf.range(2.0, feature.codes)
    code = tf.reduce_sum(tf.cast(equal, tf.float32) * codes, axis=1)
    return code + ABSENT * tf.cast(tf.math.is_nan(cells), tf.float32)


def column_names(features: Sequence[Feature]) -> dict[str, str]:
    """Returns each column's own name by its input of `serving_model`.

    Args:
      features: The statistics of each column.
    """
    names = [feature.name for feature in features]
    return dict(zip(input_names(names), names))


def input_names(columns: Sequence[str]) -> list[str]:
    """Returns names that a SavedModel's inputs may have, one a column.

    Other characters than ASCII's letters, digits and "_" become "_"; a name
    that does not start with a letter, or is a word that no argument of a
    Python function can be called, gets "column_" before it; one that is taken,
    whatever the case of its letters, gets "_2", "_3" and so on.

    Args:
      columns: Names of columns, which may be any text.

    >>> input_names(["age (years)", "Age (years)", "2nd"])
    ['age__years_', 'Age__years__2', 'column_2nd']
    """
    taken: dict[str, str] = {}
    for column in columns:
        name = re.sub(r"\W", "_", column, flags=re.ASCII)
        if not re.match("[A-Za-z]", name) or name in _NO_ARGUMENTS:
            name = f"column_{name}"
        unique, number = name, 1
        while unique.lower() in taken:
            number += 1
            unique = f"{name}_{number}"
        taken[unique.lower()] = unique
    return list(taken.values())
