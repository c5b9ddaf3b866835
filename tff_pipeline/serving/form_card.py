"""Reads from a model card what the columns of a table usually hold."""

import dataclasses
import math
from collections.abc import Mapping
from typing import Any, Optional

from tff_pipeline.datasets.readers.column import MISSING
from tff_pipeline.serving.form import Field
from tff_pipeline.serving.tensor_spec import Kind, TensorSpec


def read(
    card: Mapping[str, Any], inputs: Mapping[str, TensorSpec]
) -> tuple[Field, ...]:
    """Reads the form of a signature's inputs from a model card.

    Args:
      card: The model card, which anybody may have written.
      inputs: The signature's inputs.

    Returns:
      A field for each input, in the table's order; empty if the card has no
      form for exactly these inputs, or one that does not fit them.
    """
    entries = card.get("form")
    if not isinstance(entries, list) or not all(
        isinstance(each, dict) and isinstance(each.get("input"), str)
        for each in entries
    ):
        return ()
    if sorted(each["input"] for each in entries) != sorted(inputs):
        return ()
    there = _always_there(card)
    fields = [_field(each, inputs[each["input"]], there) for each in entries]
    found = tuple(field for field in fields if field is not None)
    return found if len(found) == len(entries) else ()


def _always_there(card: Mapping[str, Any]) -> set[str]:
    """Returns the columns' names in which training had no missing cell."""
    columns = card.get("columns")
    return {
        each["name"]
        for each in (columns if isinstance(columns, list) else ())
        if isinstance(each, dict)
        and isinstance(each.get("name"), str)
        and each.get("missing") == 0
    }


def _field(
    entry: Mapping[str, Any], spec: TensorSpec, there: set[str]
) -> Optional[Field]:
    title, kind = entry.get("column", spec.name), entry.get("kind")
    if spec.shape != (None,) or not isinstance(title, str):
        return None
    is_text = spec.kind is Kind.STRING
    if not is_text and spec.kind is not Kind.FLOAT:
        return None
    field = Field(
        spec.name, title, str(kind), is_text, always_there=title in there
    )
    if kind == "number":
        if is_text:
            return None
        low: Any = entry.get("low")
        high: Any = entry.get("high")
        if not _is_number(low) or not _is_number(high) or low >= high:
            return field
        whole = entry.get("whole") is True
        return dataclasses.replace(field, low=low, high=high, whole=whole)
    if kind == "text":
        return field if is_text else None
    if kind not in ("category", "boolean") or (
        kind == "boolean" and not is_text
    ):
        return None
    missing = _texts(entry.get("missing", list(MISSING)))
    values = entry.get("categories")
    if not isinstance(values, list) or missing is None:
        return None
    known = _texts(values) if is_text else _numbers(values)
    if known is None:
        return None
    return dataclasses.replace(field, categories=known, missing=missing)


def _is_number(value: Any) -> bool:
    return type(value) in (int, float) and math.isfinite(value)


def _texts(values: Any) -> Optional[tuple[str, ...]]:
    if not isinstance(values, list):
        return None
    fit = all(isinstance(each, str) for each in values)
    return tuple(values) if fit else None


def _numbers(values: list[Any]) -> Optional[tuple[float, ...]]:
    return tuple(values) if all(map(_is_number, values)) else None
