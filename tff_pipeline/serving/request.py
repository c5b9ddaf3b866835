"""Decodes TensorFlow Serving's requests and encodes the responses.

The format is that of its RESTful API
(https://www.tensorflow.org/tfx/serving/api_rest): `instances` has a row an
element and is answered by `predictions`, `inputs` has a column an input and is
answered by `outputs`.
"""

import dataclasses
import json
from collections.abc import Mapping, Sequence
from typing import Any, Optional

import numpy.typing as npt
import orjson

from tff_pipeline.serving import form, tensor_json
from tff_pipeline.serving.model import DEFAULT_SIGNATURE, Signature
from tff_pipeline.serving.refusal import Refusal

Array = npt.NDArray[Any]


@dataclasses.dataclass(frozen=True)
class Request:
    """Holds a predict request.

    Attributes:
      signature: The function of the model to call.
      arrays: Its inputs by name.
      rows: The number of rows that all of them have; `None` where they differ.
      by_row: Whether the answer is in row format.
      warnings: What is unlike the data of training, see `form.warnings`.
    """

    signature: Signature
    arrays: Mapping[str, Array]
    rows: Optional[int]
    by_row: bool
    warnings: Sequence[Mapping[str, Any]] = ()


def decode(body: bytes, signatures: Mapping[str, Signature]) -> Request:
    """Reads the body of a predict request.

    Args:
      body: The JSON.
      signatures: The model's functions by name.

    Raises:
      Refusal: If it is not a request that the model takes.
    """
    content = parse(body)
    if not isinstance(content, dict):
        raise Refusal(
            400,
            'The body must be a JSON object: {"instances": [...]} or '
            '{"inputs": ...}.',
        )
    signature = _signature(content.get("signature_name"), signatures)
    if ("instances" in content) == ("inputs" in content):
        raise Refusal(
            400,
            "The body must have one of 'instances' (a row an element) and "
            "'inputs' (a column an input), and not both.",
        )
    by_row = "instances" in content
    if by_row:
        columns = _columns(content["instances"], signature)
    else:
        columns = _named(content["inputs"], signature)
    arrays = _arrays(columns, signature)
    sizes = {a.shape[0] if a.ndim else None for a in arrays.values()}
    rows = sizes.pop() if len(sizes) == 1 else None
    warnings = form.warnings(signature.fields, arrays)
    return Request(signature, arrays, rows, by_row, warnings)


def _arrays(
    columns: Mapping[str, Any], signature: Signature
) -> dict[str, Array]:
    """Converts a request's columns, by the input's name."""
    values = dict(columns)
    for field in signature.fields:
        values[field.name] = field.spelt(columns[field.name])
    own = {name: title for title, name in signature.columns.items()}
    arrays = {}
    for name, spec in signature.inputs.items():
        where = f"The input {name!r}"
        if own.get(name, name) != name:
            where += f" (the column {own[name]!r})"
        try:
            arrays[name] = tensor_json.array_of(values[name], spec, where)
        except Refusal as refusal:
            raise Refusal(refusal.status, refusal.sentence, name) from None
    return arrays


def parse(body: bytes) -> Any:
    """Reads JSON, which may have NaN and Infinity.

    Args:
      body: The body of a request.

    Raises:
      Refusal: If it is no JSON.
    """
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError as error:
        problem = error
    if b"NaN" in body or b"Infinity" in body:
        # As TensorFlow Serving does: no JSON, but what json.dumps writes.
        try:
            return json.loads(body)
        except RecursionError:
            raise Refusal(400, "The body is nested too deep.") from None
        except ValueError:
            pass
    raise Refusal(400, f"The body is not JSON: {problem}.")


def _signature(name: Any, signatures: Mapping[str, Signature]) -> Signature:
    # The empty name is the default's to TensorFlow Serving.
    name = name or DEFAULT_SIGNATURE
    if not isinstance(name, str) or name not in signatures:
        raise Refusal(
            400,
            f"'signature_name' is {str(name)[:60]!r}; the model has: "
            f"{', '.join(signatures)}.",
        )
    return signatures[name]


def _columns(instances: Any, signature: Signature) -> dict[str, list[Any]]:
    """Returns a column for each input, from rows."""
    if not isinstance(instances, list) or not instances:
        raise Refusal(400, "'instances' must be a list of one row or more.")
    names = list(signature.inputs)
    objects = [
        isinstance(row, dict) and not tensor_json.is_base64(row)
        for row in instances
    ]
    if not any(objects) and len(names) == 1:
        return {names[0]: instances}
    if not all(objects):
        place = objects.index(False)
        raise Refusal(
            400,
            f"'instances' has at {place} what is no object; each row must be "
            f"one, with the inputs: {', '.join(names)}.",
        )
    expected = set(names)
    rows = []
    for place, row in enumerate(instances):
        if row.keys() != expected:
            row = _by_input(row, signature)
        if row.keys() != expected:
            _refuse_names(row, names, f"'instances' at {place}")
        rows.append(row)
    return {name: [row[name] for row in rows] for name in names}


def _by_input(
    values: Mapping[str, Any], signature: Signature
) -> Mapping[str, Any]:
    """Returns values by input, where they are by the columns' own names."""
    columns = signature.columns
    return {columns.get(name, name): value for name, value in values.items()}


def _named(inputs: Any, signature: Signature) -> dict[str, Any]:
    names = list(signature.inputs)
    if isinstance(inputs, dict) and not (
        len(names) == 1 and tensor_json.is_base64(inputs)
    ):
        if inputs.keys() != set(names):
            inputs = dict(_by_input(inputs, signature))
        if inputs.keys() != set(names):
            _refuse_names(inputs, names, "'inputs'")
        return inputs
    if len(names) != 1:
        raise Refusal(
            400,
            "'inputs' must be an object with the model's inputs: "
            f"{', '.join(names)}.",
        )
    return {names[0]: inputs}


def _refuse_names(
    columns: Mapping[str, Any], names: list[str], where: str
) -> None:
    unknown = [name for name in columns if name not in names]
    if unknown:
        raise Refusal(
            400,
            f"{where} has {unknown[0][:60]!r}, which is no input of the "
            f"model; it takes: {', '.join(names)}.",
        )
    missing = [name for name in names if name not in columns]
    raise Refusal(
        400,
        f"{where} lacks {', '.join(missing)}; the model takes: "
        f"{', '.join(names)}.",
    )


def encode(outputs: Mapping[str, Array], request: Request) -> bytes:
    """Writes the body of the response to a request.

    Args:
      outputs: Arrays by name, as the model returned them.
      request: The request that is answered.

    Raises:
      Refusal: If rows are asked for and the outputs do not have as many.
    """
    if not request.by_row:
        values = {n: tensor_json.value_of(a, n) for n, a in outputs.items()}
        content: Any = values
        if len(values) == 1:
            (content,) = values.values()
        return _answer({"outputs": content}, request)
    for name, array in outputs.items():
        if not array.ndim or array.shape[0] != request.rows:
            raise Refusal(
                400,
                f"The output {name!r} has the shape {list(array.shape)}, not "
                f"one row for each of {request.rows}; ask by 'inputs', whose "
                "answer is in columns.",
            )
    values = {n: tensor_json.value_of(a, n) for n, a in outputs.items()}
    if len(values) == 1:
        (rows,) = values.values()
        return _answer({"predictions": rows}, request)
    # A row of an array is an array, a value of it a scalar; orjson takes both.
    named = [dict(zip(values, row)) for row in zip(*values.values())]
    return _answer({"predictions": named}, request)


def _answer(content: dict[str, Any], request: Request) -> bytes:
    # TensorFlow Serving has no such key, and its clients look at none.
    if request.warnings:
        content["warnings"] = request.warnings
    return dumps(content)


def dumps(content: Any) -> bytes:
    """Writes JSON.

    >>> dumps({"rows": [1, 2.5]})
    b'{"rows":[1,2.5]}'

    Args:
      content: Objects, lists, numbers, text and arrays.
    """
    return orjson.dumps(content, option=orjson.OPT_SERIALIZE_NUMPY)


def error(sentence: str, name: Optional[str] = None) -> bytes:
    """Writes the body of a response to a refused request.

    >>> error("No such model.")
    b'{"error":"No such model."}'

    Args:
      sentence: The reason.
      name: The input whose value is the reason, if it is one.
    """
    if name is None:
        return dumps({"error": sentence})
    return dumps({"error": sentence, "input": name})
