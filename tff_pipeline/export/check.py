"""Checks that an exported model, where it is now, answers as it did.

Needs TensorFlow alone, or the interpreter of the format: nothing of TFF's.
"""

import dataclasses
import os
import time
from collections.abc import Mapping
from typing import Any, Optional

import numpy as np
import numpy.typing as npt

from tff_pipeline import errors
from tff_pipeline.export import interpreters
from tff_pipeline.export.interpreters import Arrays, Call

Array = npt.NDArray[Any]

# Largest difference of an output, in units of the largest output (or of 1):
# other formats compute in another order, or with fewer bits.
TOLERANCES = {
    "saved_model": 1e-5,
    "keras": 1e-5,
    "tflite": 1e-4,
    "tflite_float16": 1e-2,
    "tflite_int8": 0.1,
    "onnx": 1e-4,
    "tfjs": 1e-4,
}
_CALLS = 200
_WARM = 10
# Whole numbers that follow from others, such as the likeliest class, may
# differ where two are nearly as likely; text that is made of them too.
_DISCRETE = "biuSO"


@dataclasses.dataclass(frozen=True)
class Comparison:
    """Holds the differences of outputs, and what a call costs.

    Attributes:
      kind: The format.
      differences: The largest difference by "signature/output", relative to
        the largest output; of whole numbers and text, the share that differs.
      tolerance: The largest difference that is allowed.
      milliseconds: The median and the 99th percentile of one call with one
        example.
      size: The size of the file or folder in bytes.
    """

    kind: str
    differences: dict[str, float]
    tolerance: float
    milliseconds: tuple[float, float]
    size: int

    @property
    def failing(self) -> list[str]:
        """Names the outputs that differ by more than is allowed."""
        return [
            name
            for name, difference in self.differences.items()
            # Not <=, for NaN is not.
            if not difference <= self.tolerance
        ]


def kind_of(path: str) -> str:
    """Returns the format of an exported file or folder.

    Args:
      path: The file or folder.

    Returns:
      "saved_model", "keras", "tflite", "onnx" or "tfjs".

    Raises:
      ConfigError: If it is of none of these formats.
    """
    if os.path.isfile(os.path.join(path, "saved_model.pb")):
        return "saved_model"
    if os.path.isfile(os.path.join(path, "model.json")):
        return "tfjs"
    for ending in ("keras", "tflite", "onnx"):
        if os.path.isfile(path) and path.endswith(f".{ending}"):
            return ending
    raise errors.ConfigError(
        f"--model={path} is no exported model; name a folder or file that "
        "scripts/export.py wrote."
    )


def check(
    path: str,
    replay: Optional[str] = None,
    tolerance: Optional[float] = None,
) -> Comparison:
    """Shows an exported model its stored inputs and compares its outputs.

    Args:
      path: The file or folder.
      replay: Another .npz of inputs and outputs than the model's own.
      tolerance: The largest difference that is allowed, if not the format's.

    Returns:
      The differences, the time of a call and the size.

    Raises:
      ConfigError: If `path` is no exported model, or what runs it is missing.
      DataError: If the model or its replay cannot be read.
    """
    kind = kind_of(path)
    stored = read_replay(replay or _replay_of(path, kind))
    differences: dict[str, float] = {}
    with interpreters.opened(path, kind) as call:
        for signature, (inputs, outputs) in stored.items():
            answers = call(signature, inputs)
            for name, value in outputs.items():
                if name not in answers:
                    raise errors.DataError(
                        f"{path} gives no {name} for {signature}; it gives "
                        f"{', '.join(answers)}."
                    )
                differences[f"{signature}/{name}"] = _difference(
                    value, answers[name]
                )
        signature = next(iter(stored))
        milliseconds = _latency(call, signature, stored[signature][0])
    return Comparison(
        kind,
        differences,
        TOLERANCES[_quality(path, kind)] if tolerance is None else tolerance,
        milliseconds,
        _size(path),
    )


def _quality(path: str, kind: str) -> str:
    """Returns the format, with its precision where there are several."""
    if kind != "tflite":
        return kind
    with open(path, "rb") as file:
        content = file.read()
    if b"quantized_dimension" in content:
        return "tflite_int8"
    import tensorflow as tf

    details = tf.lite.Interpreter(model_content=content).get_tensor_details()
    kinds = {each["dtype"] for each in details}
    if np.int8 in kinds:
        return "tflite_int8"
    return "tflite_float16" if np.float16 in kinds else kind


def _replay_of(path: str, kind: str) -> str:
    """Returns the path of the replay that was stored with a model."""
    place = {
        "saved_model": os.path.join(path, "assets.extra", "replay.npz"),
        "tfjs": os.path.join(path, "replay.npz"),
    }.get(kind, f"{path}.replay.npz")
    if not os.path.isfile(place):
        raise errors.DataError(
            f"{place} does not exist, so there is nothing to compare with; "
            "export again, or name one with --replay."
        )
    return place


def read_replay(path: str) -> dict[str, tuple[Arrays, Arrays]]:
    """Reads the inputs and outputs that were stored with a model.

    Args:
      path: The .npz that `replay.write` wrote.

    Returns:
      For each signature's name (inputs by name, outputs by name).

    Raises:
      DataError: If it cannot be read.
    """
    stored: dict[str, tuple[Arrays, Arrays]] = {}
    try:
        with np.load(path, allow_pickle=False) as archive:
            for key in archive.files:
                signature, kind, name = key.split("/")
                parts = stored.setdefault(signature, ({}, {}))
                values = archive[key]
                if values.dtype.kind == "S":
                    # Without the full stop that keeps zeros at the end.
                    flat = [each[:-1] for each in values.ravel().tolist()]
                    values = np.array(flat, object).reshape(values.shape)
                parts[kind == "outputs"][name] = values
    except (OSError, ValueError, KeyError) as error:
        raise errors.DataError(f"{path} cannot be read ({error}).") from None
    return stored


def _difference(stored: Array, answer: Array) -> float:
    """Compares two arrays; infinite if their shapes differ."""
    if stored.shape != answer.shape:
        return float("inf")
    if stored.dtype.kind in _DISCRETE:
        return float(np.mean(stored != answer)) if stored.size else 0.0
    if not stored.size:
        return 0.0
    scale = max(1.0, float(np.max(np.abs(stored))))
    return float(np.max(np.abs(stored - answer))) / scale


def _latency(
    call: Call, signature: str, inputs: Mapping[str, Array]
) -> tuple[float, float]:
    """Times calls with one example: median and 99th percentile, in ms."""
    one = {name: value[:1] for name, value in inputs.items()}
    seconds = []
    for _ in range(_CALLS + _WARM):
        began = time.perf_counter()
        call(signature, one)
        seconds.append(time.perf_counter() - began)
    middle, late = np.percentile(seconds[_WARM:], [50, 99]) * 1000
    return float(middle), float(late)


def _size(path: str) -> int:
    """Adds up the bytes of a file, or of all files in a folder."""
    if os.path.isfile(path):
        return os.path.getsize(path)
    return sum(
        os.path.getsize(os.path.join(folder, name))
        for folder, _, names in os.walk(path)
        for name in names
    )
