"""Stores made-up inputs with an exported model, and its outputs for them.

The inputs are drawn like the test set, number by number, but are nobody's.
`check` shows them to the exported model again, wherever it is, and compares.
"""

import io
import os
from collections.abc import Mapping
from typing import Any, Optional

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from tff_pipeline.datasets.readers import sqlite_writer
from tff_pipeline.export import samples, signatures
from tff_pipeline.files import durable, storage
from tff_pipeline.runtime import compat
from tff_pipeline.tasks.task import Task

Array = npt.NDArray[Any]

FILE = "replay.npz"
EXAMPLES = 16
# Of the test set, those whose tenths and covariance are taken.
_MOST = 1000
# Tokens of a made-up text, and of a sequence of any length.
_LENGTH = 12

# Signature -> ("inputs" or "outputs") -> name -> array.
Replay = dict[str, dict[str, dict[str, Array]]]


def record(
    task: Task,
    serving: Optional[tf.keras.Model],
    functions: Mapping[str, Any],
    examples: int = EXAMPLES,
) -> Replay:
    """Shows made-up inputs to every signature.

    Args:
      task: Whose model it is.
      serving: The model that takes raw inputs, if the task has one.
      functions: The `tf.function`s of `signatures.build` by name.
      examples: How many inputs are made up.

    Returns:
      Inputs and outputs of every signature.
    """
    replayed: Replay = {}
    encoded = encoded_inputs(task, examples)
    for name, function in functions.items():
        if name == "generate":
            inputs: dict[str, Any] = {
                "prompt": np.array(samples.PROMPTS, np.bytes_),
                "length": np.int32(samples.LENGTH),
                "temperature": np.float32(0),
                "seed": np.int32(0),
            }
        elif name == "generate_ids" and task.tokenizer is not None:
            ids, counts = samples.prompts(task.tokenizer)
            inputs = {
                "prompts": ids,
                "counts": counts,
                "length": np.int32(samples.length_for(task, counts)),
                "temperature": np.float32(0),
                "top_p": np.float32(1),
                "seed": np.int32(0),
            }
        elif name == "predict_examples":
            inputs = {
                "inputs": serialised(replayed["serving_default"]["inputs"])
            }
        elif name == "serving_default" and serving is not None:
            inputs = raw_inputs(serving, encoded)
        else:
            inputs = dict.fromkeys(signatures.encoded_specs(task), encoded)
        outputs = function(*map(tf.constant, inputs.values()))
        replayed[name] = {
            "inputs": inputs,
            "outputs": {key: v.numpy() for key, v in outputs.items()},
        }
    return replayed


def encoded_inputs(task: Task, examples: int, seed: int = 0) -> Array:
    """Makes up inputs of the trained model.

    Ids are drawn evenly up to the largest of the test set (of pairs, and of a
    token's several ids, each its own); pixels and other numbers with the
    tenths that the test set has at their place, and as correlated as there (by
    a Gaussian copula: the ranks of normal numbers with its covariance).

    Args:
      task: Whose test set they are drawn like.
      examples: How many.
      seed: The same seed gives the same inputs.

    Returns:
      An array [examples, ...] of the test set's dtype.
    """
    draw, x = np.random.default_rng(seed), task.test.x
    shape = (examples, *x.shape[1:])
    if x.dtype in (np.int32, np.int64):
        apart = x.ndim > 2 or x.shape[-1] == 2
        most = x.max(axis=tuple(range(x.ndim - 1)) if apart else None)
        return draw.integers(0, most, shape, np.int64, True).astype(x.dtype)
    x = x[draw.permutation(len(x))[:_MOST]]
    known = np.ma.masked_invalid(x.astype(np.float32)).reshape(len(x), -1)
    mean = known.mean(axis=0)
    around = np.ma.filled(known - mean, 0)
    # Sums of all of them by normal weights have their covariance.
    weights = draw.normal(size=(examples, len(x))).astype(np.float32)
    size = np.sqrt(np.square(around).sum(axis=0))
    normal = weights @ around / np.maximum(size, 1e-9)
    places = 5 * (1 + tf.math.erf(normal / np.sqrt(2)).numpy())
    tenths = np.percentile(
        np.ma.filled(mean, 0) + around, 10 * np.arange(11), axis=0
    )
    below, column = np.minimum(places.astype(int), 9), np.arange(len(size))
    low, high = tenths[below, column], tenths[below + 1, column]
    values = low + (places - below) * (high - low)
    # Where all are whole numbers, they stand for something.
    whole = np.ma.filled((known == known.round()).all(axis=0), True)
    values = np.where(whole, np.round(values), values)
    return values.reshape(shape).astype(x.dtype)


def raw_inputs(serving: tf.keras.Model, encoded: Array) -> dict[str, Array]:
    """Makes up inputs of `serving_default`.

    Args:
      serving: The model that takes them.
      encoded: Made-up inputs of the trained model, [examples, ...]; numbers are
        taken from its columns, and one input of its rank is all of it.

    Returns:
      Arrays [examples, ...] by the input's name.
    """
    draw, examples = np.random.default_rng(0), len(encoded)
    lookups = {
        layer.name: _words(layer)
        for layer in compat.all_layers(serving)
        if hasattr(layer, "get_vocabulary")
    }
    strings = [each.name for each in serving.inputs if each.dtype == "string"]
    inputs = {}
    for place, each in enumerate(serving.inputs):
        if each.shape.rank == encoded.ndim and len(serving.inputs) == 1:
            inputs[each.name] = encoded
            continue
        if each.dtype != tf.string:
            column = encoded[:, place]
            inputs[each.name] = column.astype(each.dtype.as_numpy_dtype)
            continue
        if f"{each.name}.code" in lookups:
            known = lookups[f"{each.name}.code"]
        elif len(lookups) == len(strings):
            known = list(lookups.values())[strings.index(each.name)]
        else:
            known = [word for words in lookups.values() for word in words]
        known = known or [b"to", b"be", b"or", b"not", b"that"]
        if each.name == "text":
            words = draw.choice(known, [examples, _LENGTH])
            texts = [
                b" ".join(w[: 1 + i % _LENGTH]) for i, w in enumerate(words)
            ]
            inputs[each.name] = np.array(texts)
        else:
            size = [
                examples,
                *(_LENGTH if n is None else n for n in each.shape[1:]),
            ]
            inputs[each.name] = draw.choice(known, size)
    return inputs


def _words(layer: Any) -> list[bytes]:
    words = layer.get_vocabulary(include_special_tokens=False)
    return [word.encode() for word in words if word.strip()]


def serialised(inputs: Mapping[str, Array]) -> Array:
    """Returns a batch of raw inputs as serialised `tf.Example`s.

    Args:
      inputs: Arrays [batch, ...] by name.

    Returns:
      Bytes, an array of objects [batch].
    """
    rows = [
        sqlite_writer.serialize(dict(zip(inputs, map(np.asarray, row))))
        for row in zip(*inputs.values())
    ]
    # Objects: NumPy's bytes lose zeros at their end.
    return np.array(rows, object)


def write(path: str, replayed: Replay) -> None:
    """Writes a replay as an .npz without pickles.

    Args:
      path: The file; its arrays are called "signature/inputs/name" and
        "signature/outputs/name".
      replayed: Inputs and outputs of every signature.

    Raises:
      RunDirectoryError: If it cannot be written.
    """
    arrays = {
        f"{signature}/{kind}/{name}": plain(value)
        for signature, kinds in replayed.items()
        for kind, values in kinds.items()
        for name, value in values.items()
    }
    content = io.BytesIO()
    np.savez_compressed(content, **arrays)
    durable.write_bytes(path, content.getvalue())


def plain(value: Any) -> Array:
    """Returns an array that NumPy need not pickle.

    Bytes end with a full stop, for NumPy's bytes lose zeros at their end.

    Args:
      value: An array or a scalar.
    """
    array = np.asarray(value)
    if array.dtype.kind not in "OSU":
        return array
    flat = [each + b"." for each in array.ravel().tolist()]
    return np.array(flat, np.bytes_).reshape(array.shape)


def beside(path: str) -> str:
    """Returns the path of the replay of an exported model.

    It lies in a SavedModel's `assets.extra/`, in another folder, or beside a
    file.

    Args:
      path: The exported file or folder.
    """
    files = storage.file_system(path)
    if files.is_folder(os.path.join(path, "assets.extra")):
        return os.path.join(path, "assets.extra", FILE)
    if files.is_folder(path):
        return os.path.join(path, FILE)
    return f"{path}.{FILE}"
