"""Networks for rows of a table with numbers and categories."""

import functools
import itertools
import keyword
import operator
import re
from collections.abc import Sequence
from typing import Any, Optional

import tensorflow as tf

from tff_pipeline.datasets.readers.table_features import (
    ABSENT,
    UNKNOWN,
    Category,
    Feature,
    Number,
    Text,
    width,
)
from tff_pipeline.models.hashed_words import hashed_words
from tff_pipeline.models.scaling import Scaling

_HIDDEN = (64, 32)
# The inputs of a signature are arguments of a function; TensorFlow has taken
# the first of them.
_NO_ARGUMENTS = {"self", *keyword.kwlist}


def two_hidden_layers(
    features: Sequence[Feature],
    outputs: int,
    label_scaling: Optional[Scaling] = None,
) -> tf.keras.Model:
    """Makes a network of two hidden ReLU layers of 64 and 32 units.

    Missing numbers become the median; all numbers are scaled to mean 0 and
    variance 1. A category is one-hot: as what follows is a dense layer, this is
    a row of its weights, which is looked up. An unknown category is all zeros.
    Free text is the counts of its words' hashes, see `hashed_words`.

    Args:
      features: The statistics of each column, in the order of a row.
      outputs: The number of logits or predicted numbers.
      label_scaling: What the last layer's numbers are scaled to, one an output;
        `None` for logits.

    Returns:
      A model from "row", float32 [batch, columns] (numbers, NaN where missing,
      categories' codes, and `width` numbers of a text), to float32 [batch,
      outputs].
    """
    row = tf.keras.Input([sum(map(width, features))], name="row")
    parts = []
    numbers = [f for f in features if isinstance(f, Number)]
    categories = [f for f in features if isinstance(f, Category)]
    texts = [f for f in features if isinstance(f, Text)]
    if numbers:
        values = Numbers(
            _places(features, numbers),
            [float(feature.median) for feature in numbers],
            [float(feature.mean) for feature in numbers],
            [float(feature.deviation) for feature in numbers],
        )(row)
        parts.append(tf.keras.layers.Dense(_HIDDEN[0])(values))
    if categories:
        starts, total = [], 0
        for feature in categories:
            starts.append(total)
            total += feature.codes
        known, rows = Categories(_places(features, categories), starts)(row)
        looked_up = tf.keras.layers.Embedding(total, _HIDDEN[0])(rows)
        parts.append(tf.keras.layers.Dot(axes=1)([known, looked_up]))
    if texts:
        words = _words(row, features)
        parts.append(tf.keras.layers.Dense(_HIDDEN[0], use_bias=False)(words))
    hidden = functools.reduce(operator.add, parts)
    hidden = tf.keras.layers.ReLU()(hidden)
    for units in _HIDDEN[1:]:
        hidden = tf.keras.layers.Dense(units, activation="relu")(hidden)
    output = tf.keras.layers.Dense(outputs)(hidden)
    if label_scaling is not None:
        output = tf.keras.layers.Rescaling(
            label_scaling.deviation, label_scaling.mean
        )(output)
    return tf.keras.Model(row, output, name="table.model")


def encoder(features: Sequence[Feature]) -> tf.keras.Model:
    """Makes the layers that come before a user's own model of a table.

    Args:
      features: The statistics of each column, in the order of a row.

    Returns:
      A model without weights from a row, as `two_hidden_layers` takes it, to
      float32 [batch, inputs]: first all numbers, filled in and scaled, then
      for each category one for missing and one for each known value, 0 or 1;
      an unknown value is all zeros; last, the hashed words of texts.
    """
    row = tf.keras.Input([sum(map(width, features))])
    parts = []
    numbers = [f for f in features if isinstance(f, Number)]
    if numbers:
        parts.append(
            Numbers(
                _places(features, numbers),
                [float(feature.median) for feature in numbers],
                [float(feature.mean) for feature in numbers],
                [float(feature.deviation) for feature in numbers],
            )(row)
        )
    for place, feature in zip(_starts(features), features):
        if isinstance(feature, Category):
            code = tf.cast(row[:, place], tf.int32)
            # Those of ABSENT and up; UNKNOWN, which is below, has none.
            parts.append(tf.one_hot(code - ABSENT, feature.codes - ABSENT))
    if any(isinstance(feature, Text) for feature in features):
        parts.append(_words(row, features))
    values = parts[0] if len(parts) == 1 else tf.concat(parts, axis=1)
    return tf.keras.Model(row, values, name="encoder")


@tf.keras.utils.register_keras_serializable("tff_pipeline")
class Numbers(tf.keras.layers.Layer):
    """Takes the numbers out of rows, fills in missing ones, and scales all."""

    def __init__(
        self,
        places: Sequence[int],
        medians: Sequence[float],
        means: Sequence[float],
        deviations: Sequence[float],
        **options: Any,
    ):
        """Makes the layer.

        Args:
          places: The positions of the numbers in a row.
          medians: The median of each number, which stands for a missing one.
          means: The mean of each number.
          deviations: The standard deviation of each number, above 0.
          **options: Arguments of `tf.keras.layers.Layer`.
        """
        super().__init__(**options)
        self._known = {
            "places": list(places),
            "medians": list(medians),
            "means": list(means),
            "deviations": list(deviations),
        }

    def call(self, row: tf.Tensor) -> tf.Tensor:
        """Returns scaled numbers, float32 [batch, numbers].

        Args:
          row: float32 [batch, columns]; NaN where a number is missing.
        """
        values = tf.gather(row, self._known["places"], axis=1)
        values = tf.where(
            tf.math.is_nan(values), self._known["medians"], values
        )
        # Subtracted first, or float32 would lose what large numbers differ in.
        return (values - self._known["means"]) / self._known["deviations"]

    def get_config(self) -> dict[str, Any]:
        """Returns the arguments that make an equal layer."""
        return {**super().get_config(), **self._known}


@tf.keras.utils.register_keras_serializable("tff_pipeline")
class Categories(tf.keras.layers.Layer):
    """Takes the categories out of rows, as positions in a shared embedding."""

    def __init__(
        self, places: Sequence[int], starts: Sequence[int], **options: Any
    ):
        """Makes the layer.

        Args:
          places: The positions of the categories in a row.
          starts: The row of the shared embedding at which each one's codes
            start.
          **options: Arguments of `tf.keras.layers.Layer`.
        """
        super().__init__(**options)
        self._known = {"places": list(places), "starts": list(starts)}

    def call(self, row: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Returns categories as flags and as positions in the embedding.

        Args:
          row: float32 [batch, columns].

        Returns:
          1 for each known category and 0 for each other one, float32 [batch,
          categories], and the positions, int32 of the same shape.
        """
        codes = tf.cast(tf.gather(row, self._known["places"], axis=1), tf.int32)
        known = tf.cast(tf.not_equal(codes, UNKNOWN), tf.float32)
        return known, codes + self._known["starts"]

    def get_config(self) -> dict[str, Any]:
        """Returns the arguments that make an equal layer."""
        return {**super().get_config(), **self._known}


def _starts(features: Sequence[Feature]) -> list[int]:
    """Returns the place in a row at which each column begins."""
    return [0, *itertools.accumulate(map(width, features))][:-1]


def _places(
    features: Sequence[Feature], chosen: Sequence[Feature]
) -> list[int]:
    starts = zip(_starts(features), features)
    return [place for place, each in starts if each in chosen]


def _words(row: tf.Tensor, features: Sequence[Feature]) -> tf.Tensor:
    """Takes the hashed words of all texts out of rows."""
    texts = [
        row[:, start : start + each.buckets]
        for start, each in zip(_starts(features), features)
        if isinstance(each, Text)
    ]
    return texts[0] if len(texts) == 1 else tf.concat(texts, axis=1)


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
