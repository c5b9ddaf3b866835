"""Converts JSON values to arrays and back, exactly or not at all.

A value is taken as TensorFlow Serving takes it: numbers for numbers, `true`
and `false` for bools, strings (as UTF-8) or `{"b64": ...}` for strings, `NaN`,
`Infinity` and `-Infinity` where the tensor has floats. Nothing is rounded to
fit: a number out of the type's range is refused. JSON has no word for what is
not finite, so it comes back as `null`; TensorFlow Serving writes `NaN` and
`Infinity` there, which browsers and most JSON parsers refuse.
"""

import base64
import binascii
import itertools
from typing import Any

import numpy as np
import numpy.typing as npt

from tff_pipeline.serving.refusal import Refusal
from tff_pipeline.serving.tensor_spec import Kind, TensorSpec

Array = npt.NDArray[Any]

_MAX_RANK = 32


def array_of(value: Any, spec: TensorSpec, where: str) -> Array:
    """Converts nested lists to the array that they mean.

    >>> spec = TensorSpec("x", "float32", (None, 2), Kind.FLOAT, np.float32)
    >>> array_of([[1, 2.5]], spec, "The input 'x'")
    array([[1. , 2.5]], dtype=float32)

    Args:
      value: The value as a JSON parser made it.
      spec: The type and shape that the model takes.
      where: The words by which an error names the value.

    Raises:
      Refusal: If it has another shape or values of another type.
    """
    leaves, types, shape = _flat(value, where)
    if not leaves and spec.shape is not None:
        # Nothing in an empty list says what it would be a list of.
        shape += [size or 0 for size in spec.shape[len(shape) :]]
    _check_shape(shape, spec, where)
    if spec.kind is Kind.INTEGER:
        array = _integers(leaves, types, spec, where)
    elif spec.kind is Kind.FLOAT:
        array = _floats(leaves, types, spec, where)
    elif spec.kind is Kind.BOOL:
        _check_types(leaves, types, {bool}, where, "true or false")
        array = np.array(leaves, np.bool_)
    elif spec.kind is Kind.STRING:
        array = np.empty(len(leaves), object)
        array[:] = [_bytes(leaf, where) for leaf in leaves]
    else:
        raise Refusal(
            400, f"{where} is {spec.dtype}, for which JSON has no values."
        )
    return array.reshape(shape)


def _flat(value: Any, where: str) -> tuple[list[Any], set[type], list[int]]:
    """Returns the leaves in order, their types, and the shape.

    It goes level by level and not leaf by leaf: each step is a few calls into
    C.
    """
    level = [value]
    shape: list[int] = []
    while True:
        types = set(map(type, level))
        if list not in types:
            return level, types, shape
        if types != {list}:
            raise Refusal(
                400,
                f"{where} has lists and values side by side, {len(shape)} "
                "deep; all rows must have one shape.",
            )
        sizes = set(map(len, level))
        if len(sizes) > 1:
            raise Refusal(
                400,
                f"{where} has lists of {min(sizes)} and of {max(sizes)} side "
                f"by side, {len(shape)} deep; all rows must have one shape.",
            )
        shape.append(sizes.pop())
        if len(shape) > _MAX_RANK:
            raise Refusal(
                400,
                f"{where} has lists nested deeper than {_MAX_RANK}; no tensor "
                "has so many dimensions.",
            )
        level = list(itertools.chain.from_iterable(level))


def _check_shape(shape: list[int], spec: TensorSpec, where: str) -> None:
    if spec.shape is None:
        return
    if len(shape) != len(spec.shape) or any(
        wanted is not None and wanted != size
        for wanted, size in zip(spec.shape, shape)
    ):
        raise Refusal(
            400,
            f"{where} has the shape {shape}; the model takes {spec}.",
        )


def _check_types(
    leaves: list[Any],
    types: set[type],
    allowed: set[type],
    where: str,
    words: str,
) -> None:
    if not types <= allowed:
        wrong = next(leaf for leaf in leaves if type(leaf) not in allowed)
        raise Refusal(400, f"{where} takes {words}, not {_shown(wrong)}.")


def _integers(
    leaves: list[Any], types: set[type], spec: TensorSpec, where: str
) -> Array:
    words = f"whole numbers from {spec.low} to {spec.high} ({spec.dtype})"
    _check_types(leaves, types, {int}, where, words)
    if leaves:
        for extreme in (min(leaves), max(leaves)):
            if not spec.low <= extreme <= spec.high:
                raise Refusal(
                    400, f"{where} takes {words}, not {_shown(extreme)}."
                )
    return np.array(leaves, spec.numpy)


def _floats(
    leaves: list[Any], types: set[type], spec: TensorSpec, where: str
) -> Array:
    words = f"numbers, NaN, Infinity or -Infinity ({spec.dtype})"
    _check_types(leaves, types, {int, float}, where, words)
    try:
        exact = np.array(leaves, np.float64)
    except OverflowError:
        raise Refusal(
            400, f"{where} has a number that is out of {spec.dtype}'s range."
        ) from None
    with np.errstate(over="ignore"):
        array = exact.astype(spec.numpy)
    lost = np.isinf(array) & np.isfinite(exact)
    if lost.any():
        raise Refusal(
            400,
            f"{where} has {exact[lost][0]!r}, which is out of {spec.dtype}'s "
            "range.",
        )
    return array


def _bytes(leaf: Any, where: str) -> bytes:
    if isinstance(leaf, str):
        try:
            return leaf.encode()
        except UnicodeEncodeError:
            raise Refusal(
                400, f"{where} has half a surrogate pair, which is no text."
            ) from None
    if not is_base64(leaf):
        raise Refusal(
            400, f'{where} takes strings or {{"b64": ...}}, not {_shown(leaf)}.'
        )
    try:
        return base64.b64decode(leaf["b64"], validate=True)
    except (binascii.Error, ValueError) as error:
        raise Refusal(
            400, f"{where} has b64 that is not Base64 ({error})."
        ) from None


def is_base64(value: Any) -> bool:
    """Returns whether `value` stands for bytes: `{"b64": ...}`.

    >>> is_base64({"b64": "AA=="}), is_base64("AA==")
    (True, False)
    """
    return (
        isinstance(value, dict)
        and value.keys() == {"b64"}
        and isinstance(value["b64"], str)
    )


def _shown(value: Any) -> str:
    words = {None: "null", True: "true", False: "false"}
    if value is None or isinstance(value, bool):
        return words[value]
    if isinstance(value, dict):
        return "an object"
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:60]}..."


def value_of(array: Array, name: str) -> Any:
    """Converts an array to what orjson writes as its nested lists.

    Strings become lists of `str`, or of `{"b64": ...}` where they are not
    UTF-8 and where the output's name ends in `_bytes`.

    >>> value_of(np.array([b"yes", b"no"]), "answer")
    ['yes', 'no']

    Args:
      array: An output, of any shape.
      name: The output's name.
    """
    if array.dtype.kind in "OSU":
        binary = name.endswith("_bytes")
        flat = [_text(leaf, binary) for leaf in array.ravel().tolist()]
        return _nested(flat, array.shape)
    if array.dtype.kind not in "biuf" or array.dtype.name not in np.sctypeDict:
        # bfloat16, which numpy has from elsewhere and orjson does not know.
        array = array.astype(np.float32)
    return np.ascontiguousarray(array) if array.ndim else array.item()


def _text(leaf: Any, binary: bool) -> Any:
    data = leaf.encode() if isinstance(leaf, str) else leaf
    if not binary:
        try:
            return data.decode()
        except UnicodeDecodeError:
            pass
    return {"b64": base64.b64encode(data).decode()}


def _nested(flat: list[Any], shape: tuple[int, ...]) -> Any:
    if not shape:
        return flat[0]
    for size in reversed(shape[1:]):
        flat = [
            flat[start : start + size]
            for start in range(0, len(flat), size or 1)
        ]
    if 0 in shape[1:]:
        return np.empty(shape, object).tolist()
    return flat
