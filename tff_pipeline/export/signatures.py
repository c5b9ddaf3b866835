"""Builds an exported model's signatures, whose names stay the same.

serving_default   raw inputs by name, as users have them
encoded           where preprocessing is part of the model: what comes after it
predict_examples  serialised `tf.Example`s, for TF Serving's other APIs
features          what the last layer sees, where the model is one of layers
generate          text that goes on from a prompt, where it predicts next tokens
generate_ids      the same from ids to ids, where text becomes ids elsewhere
"""

from collections.abc import Callable, Mapping
from typing import Any, Optional

import tensorflow as tf

from tff_pipeline.models.transformer.text_writer import generating_function
from tff_pipeline.runtime import compat
from tff_pipeline.tasks.language_model import ends_of
from tff_pipeline.tasks.task import Task

Outputs = dict[str, tf.Tensor]
Specs = dict[str, tf.TensorSpec]

# The methods that TF Serving's classify and regress APIs look for.
CLASSIFY = "tensorflow/serving/classify"
REGRESS = "tensorflow/serving/regress"


def raw_specs(task: Task, serving: Optional[tf.keras.Model]) -> Specs:
    """Describes the inputs of `serving_default`.

    Args:
      task: Whose model it is.
      serving: The model that takes raw inputs, if the task has one.

    Returns:
      A TensorSpec [batch, ...] by the input's name.
    """
    if serving is None:
        return encoded_specs(task)
    return {
        each.name: tf.TensorSpec([None, *each.shape[1:]], each.dtype, each.name)
        for each in serving.inputs
    }


def encoded_specs(task: Task) -> Specs:
    """Describes the inputs of the trained model.

    Args:
      task: Whose model it is.

    Returns:
      A TensorSpec [batch, ...] by the input's name.
    """
    spec, name = task.batch_spec[0], task.input_name
    if task.serving_fn is not None:
        name = "encoded"
    return {name: tf.TensorSpec(spec.shape, spec.dtype, name)}


def build(
    task: Task, model: tf.keras.Model, serving: Optional[tf.keras.Model]
) -> dict[str, Any]:
    """Builds a `tf.function` for every signature.

    Args:
      task: Whose model it is.
      model: The trained one.
      serving: The model around it that takes raw inputs, as `task.serving_fn`
        builds it; `None` if the task has none.

    Returns:
      The functions by the signature's name.
    """
    encoded = _encoded(task, model)
    functions = {"serving_default": encoded}
    if serving is not None:
        functions = {"serving_default": _raw(task, serving), "encoded": encoded}
    functions["predict_examples"] = _for_examples(
        task, raw_specs(task, serving), functions["serving_default"]
    )
    features = _features(task, model)
    if features is not None:
        functions["features"] = features
    if task.generate_fn is not None:
        # What a SavedModel's functions use must be part of its root.
        root = model if serving is None else serving
        root.generator = task.generate_fn(model)
        functions["generate"] = _generating(root.generator)
    elif task.base is not None and task.tokenizer is not None:
        functions["generate_ids"] = generating_function(
            model.transformer,
            task.tokenizer,
            ends_of(task.tokenizer, task.base),
        )
    return functions


def _encoded(task: Task, model: tf.keras.Model) -> Any:
    @tf.function(input_signature=list(encoded_specs(task).values()))
    @compat.plain
    def serve(inputs: tf.Tensor) -> Outputs:
        return task.outputs_fn(model(inputs, training=False))

    return serve


def _raw(task: Task, serving: tf.keras.Model) -> Any:
    specs = raw_specs(task, serving)

    @tf.function(input_signature=list(specs.values()))
    @compat.plain
    def serve(*inputs: tf.Tensor) -> Outputs:
        columns = dict(zip(specs, inputs))
        return task.outputs_fn(serving(columns, training=False))

    return serve


def _for_examples(task: Task, specs: Specs, serve: Any) -> Any:
    """Builds a function of serialised `tf.Example`s, string [batch], "inputs".

    An example has a feature for each input, of its name: floats, integers or
    bytes, all of them one after the other; a sequence of any length may be
    shorter than others.

    Returns `classes` and `scores`, the likeliest first, for classes that
    exclude each other, as TF Serving's classify API needs it; `outputs` for one
    number, as its regress API does; else the outputs of `serving_default`.
    """
    parsing = {name: _feature(spec) for name, spec in specs.items()}

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, "inputs")])
    @compat.plain
    def serve_examples(inputs: tf.Tensor) -> Outputs:
        parsed = tf.io.parse_example(inputs, parsing)
        outputs = serve(
            *(_restored(parsed[name], spec) for name, spec in specs.items())
        )
        method = method_of(outputs)
        if method == REGRESS:
            return {"outputs": outputs["value"]}
        if method != CLASSIFY:
            return outputs
        scores, places = tf.math.top_k(
            outputs["probabilities"], outputs["probabilities"].shape[-1]
        )
        names = task.classes or list(map(str, range(scores.shape[-1])))
        return {"classes": tf.gather(list(names), places), "scores": scores}

    return serve_examples


def method_of(outputs: Mapping[str, Any]) -> Optional[str]:
    """Returns the API of TF Serving that fits a signature's outputs.

    Args:
      outputs: Outputs of `serving_default` by name, or their TensorSpecs.

    Returns:
      `CLASSIFY`, `REGRESS`, or `None` if neither fits.
    """
    if "class_id" in outputs and outputs["probabilities"].shape.rank == 2:
        return CLASSIFY
    if list(outputs) == ["value"] and outputs["value"].shape.rank == 1:
        return REGRESS
    return None


def _feature(spec: tf.TensorSpec) -> Any:
    kind = tf.int64
    if spec.dtype == tf.string or spec.dtype.is_floating:
        kind = spec.dtype
    shape = spec.shape[1:]
    if None in shape.as_list():
        # A sequence of any length, padded to the longest with zeros or "".
        return tf.io.RaggedFeature(kind)
    return tf.io.FixedLenFeature(shape, kind)


def _restored(parsed: Any, spec: tf.TensorSpec) -> tf.Tensor:
    if isinstance(parsed, tf.RaggedTensor):
        parsed = parsed.to_tensor()
    return tf.cast(parsed, spec.dtype) if parsed.dtype != spec.dtype else parsed


def _features(task: Task, model: tf.keras.Model) -> Optional[Any]:
    """Builds a function of what the last layer with weights sees.

    It is `None` where that is no tensor.
    """
    # A subclassed model does not say how its layers are connected.
    weighted = [layer for layer in model.layers if layer.weights]
    if model.inputs is None or len(weighted) < 2:
        return None
    inner = weighted[-1].input
    if not tf.is_tensor(inner) and not hasattr(inner, "shape"):
        return None
    below = tf.keras.Model(model.inputs, inner)

    @tf.function(input_signature=list(encoded_specs(task).values()))
    @compat.plain
    def features(inputs: tf.Tensor) -> Outputs:
        return {"features": below(inputs, training=False)}

    return features


def _generating(
    generate: Callable[[tf.Tensor, tf.Tensor, tf.Tensor, tf.Tensor], tf.Tensor],
) -> Any:
    specs = [
        tf.TensorSpec([None], tf.string, "prompt"),
        tf.TensorSpec([], tf.int32, "length"),
        tf.TensorSpec([], tf.float32, "temperature"),
        tf.TensorSpec([], tf.int32, "seed"),
    ]

    @tf.function(input_signature=specs)
    @compat.plain
    def serve(
        prompt: tf.Tensor,
        length: tf.Tensor,
        temperature: tf.Tensor,
        seed: tf.Tensor,
    ) -> Outputs:
        return {"text": generate(prompt, length, temperature, seed)}

    return serve


def numeric(task: Task) -> str:
    """Returns the name of the signature that takes the trained model's inputs.

    Args:
      task: Whose model it is.
    """
    return "serving_default" if task.serving_fn is None else "encoded"


def numbers_only(
    task: Task, model: tf.keras.Model, batch_size: Optional[int] = None
) -> dict[str, Any]:
    """Builds that signature without outputs that are text, for other formats.

    Args:
      task: Whose model it is.
      model: The trained one.
      batch_size: The size of a batch, where a format must know it.

    Returns:
      The `tf.function` by the signature's name.
    """
    specs = [
        tf.TensorSpec([batch_size, *spec.shape[1:]], spec.dtype, name)
        for name, spec in encoded_specs(task).items()
    ]

    @tf.function(input_signature=specs)
    @compat.plain
    def serve(inputs: tf.Tensor) -> Outputs:
        outputs = task.outputs_fn(model(inputs, training=False))
        return {k: v for k, v in outputs.items() if v.dtype != tf.string}

    return {numeric(task): serve}
