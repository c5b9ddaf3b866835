"""Describes the inputs of a table's model to whoever fills them in."""

from collections.abc import Sequence
from typing import Any, Union

import numpy as np

from tff_pipeline.datasets.readers.column import MISSING
from tff_pipeline.datasets.readers.table_features import (
    Category,
    Feature,
    Number,
)
from tff_pipeline.models import table_serving


def form(features: Sequence[Feature]) -> list[dict[str, Any]]:
    """Returns a JSON object for each input of `table_serving.serving_model`.

    It has nothing of a person: categories that the exported model holds
    anyway, and of numbers the usual range (see `column_range`), never the
    smallest or the largest. Where the user named a column's bounds, these are
    the range.

    Example:
      >>> form([Category("smokes", ("false", "true"), absent=("", "NA"))])[0]
      ... # doctest: +NORMALIZE_WHITESPACE
      {'input': 'smokes', 'column': 'smokes', 'kind': 'boolean',
       'categories': ['false', 'true'], 'missing': ['', 'NA']}

    Args:
      features: The statistics of each column, in the table's order.

    Returns:
      "input" (its name), "column" (the column's own name) and "kind", which is
      "text" for free text, of which nothing is known; for the
      kind "number", unless it has no range, "low", "high" and "whole" (whether
      all numbers are whole); for "category" and "boolean" the "categories",
      text or numbers, and the words for "missing" if they are not the usual
      ones.
    """
    described = []
    names = table_serving.input_names([feature.name for feature in features])
    for name, feature in zip(names, features):
        known: dict[str, Any] = {"input": name, "column": feature.name}
        if isinstance(feature, Category):
            known["kind"] = "boolean" if feature.is_boolean else "category"
            known["categories"] = [
                _shortest(each) if feature.of_numbers else each
                for each in feature.known
            ]
            if feature.absent != MISSING:
                known["missing"] = list(feature.absent)
        elif isinstance(feature, Number):
            known["kind"] = "number"
            if feature.usual is not None:
                known |= vars(feature.usual)
        else:
            known["kind"] = "text"
        described.append(known)
    return described


def _shortest(number: Any) -> Union[int, float]:
    """Returns a float32 by the fewest digits: 0.1 and not 0.10000000149."""
    short = float(str(np.float32(number)))
    return int(short) if short.is_integer() else short
