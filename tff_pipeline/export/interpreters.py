"""Loads exported models by what runs each format elsewhere.

Needs TensorFlow alone, or the interpreter of the format: nothing of TFF's.
"""

import contextlib
import json
import os
import subprocess
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from tff_pipeline import errors

Array = npt.NDArray[Any]

Arrays = dict[str, Array]
# (signature, inputs by name) -> outputs by name.
Call = Callable[[str, Mapping[str, Array]], Arrays]

_BATCH_SIZE = 16
_SCRIPT = os.path.join(os.path.dirname(__file__), "replay.js")


@contextlib.contextmanager
def opened(path: str, kind: str) -> Iterator[Call]:
    """Loads an exported model to be called.

    Args:
      path: The file or folder.
      kind: Its format, as `check.kind_of` gives it.

    Yields:
      A function from a signature's name and inputs by name to outputs by name.

    Raises:
      ConfigError: If what runs the format is not installed.
      DataError: If the model cannot be loaded.
    """
    openers: dict[str, Callable[[str], Any]] = {
        "saved_model": _saved_model,
        "keras": _keras,
        "tflite": _tflite,
        "onnx": _onnx,
    }
    if kind == "tfjs":
        with _tfjs(path) as call:
            yield call
        return
    try:
        call = openers[kind](path)
    except errors.PipelineError:
        raise
    except Exception as error:  # Each of them raises what it likes.
        why = " ".join(str(error).split())[:200]
        raise errors.DataError(f"{path} cannot be loaded ({why}).") from None
    yield call


def _saved_model(path: str) -> Call:
    import tensorflow as tf

    loaded = tf.saved_model.load(path)

    def call(signature: str, inputs: Mapping[str, Array]) -> Arrays:
        function = loaded.signatures[signature]
        tensors = {name: tf.constant(v) for name, v in inputs.items()}
        return {k: v.numpy() for k, v in function(**tensors).items()}

    # What the functions use goes with it.
    call.loaded = loaded  # type: ignore[attr-defined]
    return call


def _keras(path: str) -> Call:
    import tensorflow as tf

    from tff_pipeline.models import keras_file

    model = keras_file.load(path)

    def call(_: str, inputs: Mapping[str, Array]) -> Arrays:
        (value,) = inputs.values()
        return {"output": model(tf.constant(value), training=False).numpy()}

    return call


def _tflite(path: str) -> Call:
    import tensorflow as tf

    interpreter = tf.lite.Interpreter(model_path=path)
    runners = {
        name: interpreter.get_signature_runner(name)
        for name in interpreter.get_signature_list()
    }

    def call(signature: str, inputs: Mapping[str, Array]) -> Arrays:
        runner = runners[signature]
        (name,) = inputs
        sizes = runner.get_input_details()[name]["shape_signature"]
        if sizes[0] == -1:
            return runner(**inputs)
        # It was made for one example at a time, and where it ends with one,
        # recurrent operations would begin with the next.
        parts = []
        for row in inputs[name]:
            parts.append(runner(**{name: row[None]}))
            interpreter.reset_all_variables()
        return _joined(parts)

    return call


def _joined(parts: Sequence[Arrays]) -> Arrays:
    """Joins the answers to parts of a batch along the first axis."""
    return {k: np.concatenate([p[k] for p in parts]) for k in parts[0]}


def _onnx(path: str) -> Call:
    try:
        import onnxruntime
    except ImportError:
        raise errors.ConfigError(
            f"--model={path} needs onnxruntime; install tff-pipeline[onnx]."
        ) from None
    session = onnxruntime.InferenceSession(
        path, providers=["CPUExecutionProvider"]
    )
    names = [each.name for each in session.get_outputs()]

    def call(_: str, inputs: Mapping[str, Array]) -> Arrays:
        return dict(zip(names, session.run(names, dict(inputs))))

    return call


@contextlib.contextmanager
def _tfjs(path: str) -> Iterator[Call]:
    try:
        process = subprocess.Popen(
            ["node", _SCRIPT, path],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
    except OSError as error:
        raise errors.ConfigError(
            f"--model={path} needs Node.js ({error.strerror})."
        ) from None
    questions, answers, problems = process.stdin, process.stdout, process.stderr
    assert (
        questions is not None and answers is not None and problems is not None
    )
    with process:
        if not answers.readline():
            words = problems.read().strip().rpartition("\n")[2]
            raise errors.ConfigError(
                f"--model={path} needs the Node.js package @tensorflow/tfjs "
                f"({words}); npm install it here, or name where with NODE_PATH."
            )

        def call(_: str, inputs: Mapping[str, Array]) -> Arrays:
            (value,) = inputs.values()
            # Some at a time, for a text in Node.js has at most 512 MB.
            parts = [
                answer_batch(value[start : start + _BATCH_SIZE])
                for start in range(0, len(value), _BATCH_SIZE)
            ]
            return _joined(parts)

        def answer_batch(value: Array) -> Arrays:
            dtype = "float32" if value.dtype.kind == "f" else "int32"
            question = {
                "values": value.ravel().tolist(),
                "shape": value.shape,
                "dtype": dtype,
            }
            questions.write(json.dumps(question) + "\n")
            questions.flush()
            answer = answers.readline()
            if not answer:
                words = problems.read().strip().rpartition("\n")[2]
                raise errors.DataError(
                    f"{path} cannot be run by Node.js ({words})."
                )
            return {
                name: np.array(each["values"], np.float32).reshape(
                    each["shape"]
                )
                for name, each in json.loads(answer).items()
            }

        yield call
        questions.close()
