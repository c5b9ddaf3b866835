"""Every task's model in every format, against the run's own evaluation.

Artefacts are loaded in a process that has no TensorFlow Federated.
"""

import os
import shutil
import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf

from tests.testing.every_task import TASKS, learned, task_of
from tests.testing.scripts import ROOT
from tff_pipeline import registry
from tff_pipeline.evaluation import central
from tff_pipeline.export import formats, signatures
from tff_pipeline.files import storage
from tff_pipeline.models import keras_file

MOST_EXAMPLES = 300
PACKAGE = ROOT / "tff_pipeline"
# That of language models alone is tried in test_language_exports.
ALL = tuple(name for name in registry.FORMATS if name != "huggingface")
# Points of accuracy, or of what a task has instead, that may be lost.
ALLOWED = {
    "saved_model": 0.0,
    "keras": 0.0,
    "tflite": 0.001,
    "tflite_float16": 0.001,
    "tflite_dynamic_int8": 0.01,
    "tflite_int8": 0.01,
    "onnx": 0.001,
    "tfjs": 0.001,
}


# Of each kind of model one, small.
QUICK = ("csv",)


def score(outputs, y):
    """One figure of how good outputs are, between 0 and 1 where labels are."""
    if "class_id" in outputs or "tag_id" in outputs:
        found = outputs.get("class_id", outputs.get("tag_id"))
        y = y.reshape(found.shape)
        # 0 is padding where every token has a label.
        counts = y > 0 if found.ndim == 2 else np.ones(found.shape, bool)
        return np.mean((found == y)[counts], dtype=np.float32)
    if "probabilities" in outputs:
        return np.mean((outputs["probabilities"] > 0.5) == (y > 0.5))
    (values,) = outputs.values()
    scale = np.std(y.ravel()) or 1.0
    if values.size != y.size:
        return np.mean(np.abs(values)) / scale
    return np.sqrt(np.mean((values.ravel() - y.ravel()) ** 2)) / scale


# Loads artefacts without TFF; each answers for the test set.
ELSEWHERE = """
import sys
sys.modules["tensorflow_federated"] = None
import numpy as np
from tff_pipeline.export import check, interpreters
given, signature, name, *paths = sys.argv[1:]
x = np.load(given)["x"]
for path in paths:
    with interpreters.opened(path, check.kind_of(path)) as call:
        outputs = call(signature, {name: x})
    outputs = {k: v for k, v in outputs.items() if v.dtype.kind not in "OS"}
    np.savez(f"{path}.outputs.npz", **outputs)
assert not any(n.startswith("tensorflow_federated.") for n in sys.modules)
"""


def elsewhere(paths, x, signature, name, folder):
    """What each artefact gives for `x`, in a process of their own."""
    np.savez(folder / "x.npz", x=x)
    done = subprocess.run(
        [
            *(sys.executable, "-c", ELSEWHERE),
            *(str(folder / "x.npz"), signature, name, *paths),
        ],
        capture_output=True,
        text=True,
        cwd=ROOT,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    found = []
    for path in paths:
        with np.load(f"{path}.outputs.npz") as outputs:
            found.append(dict(outputs))
    return found


def available(kind):
    if kind == "tfjs":
        converter = shutil.which(
            "tensorflowjs_converter",
            path=os.pathsep.join(
                [os.path.dirname(sys.executable), os.environ["PATH"]]
            ),
        )
        node = (
            subprocess.run(
                ["node", "-e", "require('@tensorflow/tfjs')"],
                capture_output=True,
            )
            if shutil.which("node")
            else None
        )
        return bool(converter and node and node.returncode == 0)
    return True


def assert_parity(name, kinds, folder):
    task = task_of(name, folder)
    weights = learned(task)
    test = task.test.take(np.arange(min(len(task.test), MOST_EXAMPLES)))
    model = task.build_model()
    weights.assign_weights_to(model)
    outputs = {
        key: value.numpy()
        for key, value in task.outputs_fn(
            model(tf.constant(test.x), training=False)
        ).items()
    }
    wanted = score(outputs, test.y)
    measured = central.Evaluator(task).evaluate(weights, test)
    if "class_id" in outputs and outputs["class_id"].ndim == 1:
        assert np.float32(measured["accuracy"]) == np.float32(wanted)
    kinds = [kind for kind in kinds if available(kind)]
    paths = [
        formats.path_of(kind, str(folder / "out"), ALL, None) for kind in kinds
    ]
    for kind, path in zip(kinds, paths):
        formats.write(kind, task, weights, path)
    (given,) = signatures.encoded_specs(task)
    answers = elsewhere(paths, test.x, signatures.numeric(task), given, folder)
    lost = {}
    for kind, found in zip(kinds, answers):
        if kind == "keras":
            found = {
                key: value.numpy()
                for key, value in task.outputs_fn(
                    tf.constant(found["output"])
                ).items()
            }
        lost[kind] = abs(float(score(found, test.y)) - float(wanted))
        allowed = ALLOWED[kind]
        if kind.endswith("int8"):
            # Of fewer than a hundred labels one, which is more than a point.
            labels = (test.y > 0).sum() if test.y.ndim == 2 else len(test.y)
            allowed = max(allowed, 1.001 / labels)
        assert lost[kind] <= allowed, (name, kind, lost[kind], wanted)
        numbers = {k for k, v in outputs.items() if v.dtype.kind not in "OS"}
        assert set(found) >= numbers, (name, kind)
        if kind in ("saved_model", "onnx", "tflite", "tfjs"):
            for key in numbers:
                value = found[key]
                if value.dtype.kind in "iu" or key.endswith("_id"):
                    continue  # Of two that are as likely, either.
                # Compiled, some sums are taken in another order.
                np.testing.assert_allclose(value, outputs[key], 1e-4, 1e-5)
    print(f"\n{name}: {wanted:.4f}; lost: {lost}")


@pytest.mark.parametrize("name", QUICK)
def test_parity_of_formats(name, tmp_path):
    kinds = ("saved_model", "keras")
    if name == "digits_cnn":
        kinds = ("saved_model", "onnx", "tflite_int8")
    assert_parity(name, kinds, tmp_path)


@pytest.mark.soak
def test_a_format_is_written_wherever_tensorflow_writes(tmp_path):
    task = task_of("digits_2nn", tmp_path)
    path = "ram://exports/model.keras"
    formats.write("keras", task, learned(task), path)
    assert storage.file_system(path).names("ram://exports") == [
        *("model.keras", "model.keras.replay.npz")
    ]
    local = tmp_path / "model.keras"
    local.write_bytes(storage.file_system(path).read(path))
    x = task.test.x[:5]
    (found,) = elsewhere([str(local)], x, "model", "input", tmp_path)
    assert found["output"].shape == (5, 10)


@pytest.mark.soak
@pytest.mark.parametrize("name", [name for name in TASKS])
def test_parity_of_every_task_in_every_format(name, tmp_path):
    assert_parity(name, ALL, tmp_path)
    if name == "digits_cnn":

        def size(kind):
            path = formats.path_of(kind, str(tmp_path / "out"), ALL, None)
            return os.path.getsize(path)

        assert size("tflite_float16") < 0.6 * size("tflite")
        assert size("tflite_dynamic_int8") < 0.4 * size("tflite")
        assert size("tflite_int8") < 0.4 * size("tflite")


def test_every_module_with_layers_of_its_own_is_known_to_the_keras_reader():
    marked = {
        "tff_pipeline." + ".".join(path.relative_to(PACKAGE).parts)[:-3]
        for path in (PACKAGE / "models").glob("*.py")
        if "@tf.keras.utils.register_keras_serializable" in path.read_text()
    }
    assert marked == set(keras_file.LAYERS)
