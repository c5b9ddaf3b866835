"""Turns values of JSON into clients' names, inputs and labels."""

import json
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from tff_pipeline import errors
from tff_pipeline.datasets.readers import arrays

Array = npt.NDArray[Any]

# From here on a float may stand for several whole numbers.
_MOST_EXACT = 2**53


def client_name(value: Any, where: str) -> str:
    """Returns the name of a client.

    JSON does not tell 1 from 1.0, and programs write either for the same
    client: 1, 1.0 and "1" are one client, called "1". Spaces around text do
    not count.

    Example:
      >>> client_name("ward 3", "line 1"), client_name(1.0, "line 2")
      ('ward 3', '1')

    Args:
      value: A value of JSON: text or a whole number.
      where: Its file and place, for errors.

    Raises:
      DataError: If it is another value, as null, or no text that can be
        written.
    """
    if isinstance(value, bool) or value is None:
        kind = json.dumps(value)
    elif isinstance(value, str):
        if value.strip():
            return _checked(value.strip(), where)
        kind = "empty"
    elif isinstance(value, int):
        return str(value)
    elif isinstance(value, float):
        if abs(value) < _MOST_EXACT and value == int(value):
            return str(int(value))
        kind = "a fraction, or too large for a whole number"
    else:
        kind = "a list or an object"
    raise errors.DataError(
        f"{where} has a client that is {kind}; a client's name is text or a "
        "whole number: fill it in, or leave the example out."
    )


def inputs(value: Any, where: str) -> Array:
    """Returns numbers as a model takes them, float32; null is missing, NaN.

    Example:
      >>> inputs([[1, 2], [3, None]], "line 1")
      array([[ 1.,  2.],
             [ 3., nan]], dtype=float32)

    Args:
      value: A number, or lists of numbers of any depth.
      where: Its file and place, for errors.

    Raises:
      DataError: If it is something else, empty or has an infinite number.
    """
    try:
        with np.errstate(over="ignore"):
            x = np.asarray(value, np.float32)
    except (TypeError, ValueError, OverflowError):
        raise errors.DataError(
            f"{where} has an x that is {_kind(value)}, where it must be a "
            f"number or lists of numbers; {_advice(value)}."
        ) from None
    if not x.size:
        raise errors.DataError(
            f"{where} has an x that holds nothing; give it numbers, or leave "
            "the example out."
        )
    return arrays.as_input(x, f"{where}: x")


def label(value: Any, where: str) -> Any:
    """Checks that there is a label.

    Args:
      value: A value of JSON.
      where: Its file and place, for errors.

    Returns:
      `value`.

    Raises:
      DataError: If it is null, or no text that can be written.
    """
    if value is None:
        raise errors.DataError(
            f"{where} has a y that is null; every example needs a label: fill "
            "it in, or leave the example out."
        )
    return _checked(value, where) if isinstance(value, str) else value


def labels(values: Sequence[Any], path: str) -> Array:
    """Returns all labels as one array.

    Example:
      >>> labels([True, False], "data.jsonl")
      array(['true', 'false'], dtype='<U5')

    Args:
      values: All labels, as `label` returns them.
      path: Their file or folder, for errors.

    Returns:
      Of shape [n, ...]: float64 for numbers, str for text and for booleans.

    Raises:
      DataError: If they are of several kinds or lists of different lengths.
    """
    kinds = {type(value) for value in values}
    if kinds == {bool}:
        return np.array([json.dumps(value) for value in values])
    try:
        # Otherwise true would be 1, and "1" too.
        if bool in kinds or (str in kinds and kinds != {str}):
            raise ValueError
        return np.asarray(values, str if kinds == {str} else np.float64)
    except (TypeError, ValueError, OverflowError):
        raise errors.DataError(
            f"{path}: the y of all examples must be numbers, or lists of as "
            "many, or all text, or all true and false; mend those that differ."
        ) from None


def _checked(text: str, where: str) -> str:
    """Refuses half a surrogate pair, which JSON allows and UTF-8 does not."""
    try:
        text.encode()
    except UnicodeEncodeError:
        raise errors.DataError(
            f"{where} has text with half a character (such as \\ud800); mend "
            "it."
        ) from None
    return text


def _first(value: Any) -> Any:
    while isinstance(value, list) and value:
        value = value[0]
    return value


def _kind(value: Any) -> str:
    """Words for a value that is no array of numbers; none of its text."""
    first = _first(value)
    if isinstance(first, str):
        return "text"
    if isinstance(first, dict):
        return "an object"
    return "lists of different lengths, or numbers beside text"


def _advice(value: Any) -> str:
    first = _first(value)
    if isinstance(first, str):
        return (
            "turn text into numbers (such as counts of words), put images that "
            "it names into folders CLIENT/CLASS, and train on LEAF's windows "
            "of characters with --task=shakespeare_next_char"
        )
    if isinstance(first, dict):
        return "write its values as a list, in the same order in all examples"
    return "mend it"
