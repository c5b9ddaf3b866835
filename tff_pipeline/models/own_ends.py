"""Brings the two ends of a user's own Keras model to those of a task.

Data are cast, scaled and shaped as the model's `Input` says, and a softmax or
sigmoid at its end is taken off, as a task's loss is computed from logits: a
softmax of a softmax never happens.
"""

import dataclasses
import math
from collections.abc import Callable, Sequence
from typing import Any, Optional

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from tff_pipeline.runtime import compat

Array = npt.NDArray[Any]
Shape = tuple[Optional[int], ...]

# As far as Keras's own cross-entropy keeps probabilities from 0 and 1.
_LEAST = 1e-7
_SOFTMAX, _SIGMOID = "softmax", "sigmoid"
_ACTIVATIONS = {
    "softmax": _SOFTMAX,
    "softmax_v2": _SOFTMAX,
    "sigmoid": _SIGMOID,
}
_SCALING = (tf.keras.layers.Normalization, tf.keras.layers.Rescaling)
_OPERATIONS = ("Lambda", "SlicingOpLambda", "TFOpLambda")
# What white is in images of bytes: in pictures of two colours, in the digits of
# scikit-learn, in all others.
_WHITES = (1.0, 16.0, 255.0)
# Layers whose activation is the last thing that they do.
_WITH_ACTIVATION = (
    tf.keras.layers.Activation,
    tf.keras.layers.Conv1D,
    tf.keras.layers.Conv2D,
    tf.keras.layers.Conv3D,
    tf.keras.layers.Dense,
    tf.keras.layers.EinsumDense,
)


@dataclasses.dataclass(frozen=True)
class Entrance:
    """How data are brought into a model.

    Attributes:
      dtype: The type that the model takes.
      shape: The shape of one example as the model takes it.
      white: The number that images are divided by; 1 for none.
      size: Height and width that images are resized to; `None` for none.
      encoder_fn: Makes the layers that come first, such as those that scale
        the numbers of a table and make its categories one-hot; or `None`.
      words: What is done, in words; empty if nothing is.
    """

    dtype: str
    shape: Shape
    white: float = 1.0
    size: Optional[tuple[int, int]] = None
    encoder_fn: Optional[Callable[[], tf.keras.Model]] = None
    words: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True)
class Exit:
    """How a model's outputs are brought to logits or numbers of a task.

    Attributes:
      activation: "softmax" or "sigmoid" where the last layer has it as its
        activation or is it, and it is taken off; else "".
      inverse: "softmax" or "sigmoid" where the model gives probabilities by
        other means, and their logarithm or logit is taken; else "".
      two: Whether one logit, of class 1, becomes one for each of two classes.
      cast: Whether its numbers become float32.
      words: What is done, in words; empty if nothing is.
    """

    activation: str = ""
    inverse: str = ""
    two: bool = False
    cast: bool = False
    words: tuple[str, ...] = ()


def entrance(
    shape: Sequence[int],
    dtype: str,
    takes: tf.TensorSpec,
) -> Optional[Entrance]:
    """Decides how examples are brought into a model that has an `Input`.

    Args:
      shape: The shape of one example.
      dtype: The type of the examples.
      takes: What the model takes, [batch, ...].

    Returns:
      The entrance; `None` if the examples do not fit the model.
    """
    shape = tuple(shape)
    words: tuple[str, ...] = ()
    to = takes.dtype.name
    if to != dtype:
        if not _castable(tf.dtypes.as_dtype(dtype), takes.dtype):
            return None
        words = (f"{dtype} is cast to {to}",)
    wanted = tuple(takes.shape[1:])
    if _fits(shape, wanted):
        return Entrance(to, shape, words=words)
    for other in ((*shape, 1), _without_ones(shape), (math.prod(shape),)):
        if _fits(other, wanted):
            words += (f"{_words(shape)} is reshaped to {_words(other)}",)
            return Entrance(to, other, words=words)
    image, target = _as_image(shape), _as_image(wanted)
    if (
        dtype == "uint8"
        and takes.dtype.is_floating
        and image is not None
        and target is not None
        and image[2] == target[2]
    ):
        size = (target[0], target[1])
        words += (f"images are resized to {size[0]} x {size[1]}",)
        return Entrance(to, wanted, size=size, words=words)
    return None


def entrances(shape: Sequence[int], dtype: str) -> list[Entrance]:
    """Lists how examples may be brought into a model without an `Input`.

    Args:
      shape: The shape of one example.
      dtype: The type of the examples.

    Returns:
      Entrances to be tried, the first that the model can be called with.
    """
    shape = tuple(shape)
    # Bytes are images, and Keras's layers cast no integers.
    to = "float32" if dtype == "uint8" else dtype
    words = () if to == dtype else (f"{dtype} is cast to {to}",)
    found = [Entrance(to, shape, words=words)]
    if len(shape) == 2:
        wanted = (*shape, 1)
        reshaped = f"{_words(shape)} is reshaped to {_words(wanted)}"
        found.append(Entrance(to, wanted, words=(*words, reshaped)))
    return found


def scaled(
    way_in: Entrance, model: tf.keras.Model, brightest: float
) -> Entrance:
    """Returns an entrance that brings images of bytes to 0 to 1 for a model.

    Most models expect that; a model that scales its inputs itself does not, and
    gets them as they are.

    Args:
      way_in: The entrance of the model, of images of bytes.
      model: The model, with its layers.
      brightest: The largest number in the images.
    """
    if way_in.dtype == "uint8" or _scales_itself(model):
        return way_in
    white = next(each for each in _WHITES if each >= brightest)
    words = f"pixels of 0 to {white:g} are divided by {white:g}"
    return dataclasses.replace(
        way_in, white=white, words=(*way_in.words, words)
    )


def _scales_itself(model: tf.keras.Model) -> bool:
    if any(isinstance(layer, _SCALING) for layer in compat.all_layers(model)):
        return True
    # Numbers that are computed with before they come to a layer.
    layers = [
        layer
        for layer in model.layers
        if not isinstance(layer, tf.keras.layers.InputLayer)
    ]
    return bool(layers) and type(layers[0]).__name__ in _OPERATIONS


def enter(model: tf.keras.Model, x: Array, way_in: Entrance) -> Any:
    """Returns what a model gives for examples.

    Args:
      model: The model.
      x: Examples, or what the encoder makes of them.
      way_in: How they are brought into it.
    """
    return model(_brought(tf.constant(x), way_in), training=False)


def _brought(values: tf.Tensor, way_in: Entrance) -> tf.Tensor:
    if way_in.size is not None:
        image = _as_image(tuple(values.shape[1:]))
        assert image is not None  # `entrance` made sure.
        values = tf.reshape(values, [-1, *image])
        values = tf.keras.layers.Resizing(*way_in.size)(values)
    if values.dtype.name != way_in.dtype:
        values = tf.cast(values, way_in.dtype)
    if way_in.white != 1:
        values = values / way_in.white
    if tuple(values.shape[1:]) != way_in.shape:
        values = tf.keras.layers.Reshape(way_in.shape)(values)
    return values


def _castable(given: tf.DType, takes: tf.DType) -> bool:
    """Returns whether no number changes, but for float64's last digits."""
    if tf.string in (given, takes):
        return False
    if takes.is_floating:
        return True
    # Identifiers may become wider.
    return given.is_integer and takes.is_integer and takes.size >= given.size


def _fits(shape: Shape, wanted: Shape) -> bool:
    return tf.TensorShape(wanted).is_compatible_with(shape)


def _without_ones(shape: Shape) -> Shape:
    return tuple(size for size in shape if size != 1)


def _as_image(shape: Shape) -> Optional[tuple[int, int, int]]:
    """Returns height, width and channels, or `None` for what is no image."""
    if len(shape) == 2:
        shape = (*shape, 1)
    if len(shape) != 3 or None in shape or shape[2] not in (1, 3, 4):
        return None
    return shape  # type: ignore[return-value]


def _words(shape: Shape) -> str:
    return " x ".join("any" if n is None else f"{n}" for n in shape) or "1"


def activation_of(model: tf.keras.Model) -> str:
    """Returns the activation at the end of a model, if it can be taken off.

    Args:
      model: Any Keras model.

    Returns:
      "softmax" or "sigmoid"; "" for another one, for none, and where a model
      does not say how its layers are connected.
    """
    layer = _last_layer(model)
    if isinstance(layer, tf.keras.layers.Softmax):
        cut = _without_last_layer(model)
        return _SOFTMAX if layer.axis == -1 and cut is not None else ""
    if not isinstance(layer, _WITH_ACTIVATION):
        return ""
    name = getattr(layer.activation, "__name__", "")
    return _ACTIVATIONS.get(name, "")


def _last_layer(model: tf.keras.Model) -> Optional[Any]:
    layer: Any = model
    while isinstance(layer, tf.keras.Model):
        if isinstance(layer, tf.keras.Sequential):
            if not layer.layers:
                return None
            layer = layer.layers[-1]
        elif layer.inputs is not None:
            layer = layer.get_layer(layer.output_names[0])
        else:
            return None
    return layer


def _without_last_layer(model: tf.keras.Model) -> Optional[tf.keras.Model]:
    """Returns the model below its last layer; `None` if that loses anything."""
    last: Any = _last_layer(model)
    if last not in model.layers or len(model.layers) < 2:
        return None
    if model.inputs is None:
        return tf.keras.Sequential(model.layers[:-1])
    try:
        below = tf.keras.Model(model.inputs, last.input)
    except AttributeError:  # It is used in several places.
        return None
    return below if len(below.losses) == len(model.losses) else None


def without_activation(model: tf.keras.Model) -> tf.keras.Model:
    """Takes off what `activation_of` finds.

    Args:
      model: A model that has it; its last layer may be changed.
    """
    layer: Any = _last_layer(model)
    if isinstance(layer, tf.keras.layers.Softmax):
        return _without_last_layer(model)
    layer.activation = tf.keras.activations.linear
    return model


def probabilities_in(
    outputs_fn: Callable[[tf.Tensor], dict[str, tf.Tensor]],
    output: tf.Tensor,
) -> str:
    """Returns how a task makes probabilities of what its model gives.

    Args:
      outputs_fn: The task's.
      output: What the task's own model gives, of any batch.

    Returns:
      "softmax" or "sigmoid", of logits; "" if the task takes no logits.
    """
    draw = np.random.default_rng(0)
    shape = [1 if size is None else size for size in output.shape]
    logits = tf.constant(draw.normal(size=shape), output.dtype)
    given = outputs_fn(logits).get("probabilities")
    if given is None or given.shape != logits.shape:
        return ""
    for name, function in (_SOFTMAX, tf.nn.softmax), (_SIGMOID, tf.sigmoid):
        if np.allclose(given, function(logits), atol=1e-5):
            return name
    return ""


def probabilities_of(model: tf.keras.Model, x: Array, way_in: Entrance) -> str:
    """Finds out by trial whether a model gives probabilities.

    Its weights are changed at random, so that nothing but its last operation
    can be why all numbers are from 0 to 1, or have the sum 1.

    Args:
      model: A model with weights, which is changed: it is of no use afterwards.
      x: A few examples.
      way_in: How they are brought into the model.

    Returns:
      "softmax", "sigmoid" or "".
    """
    draw = np.random.default_rng(0)
    found = {_SOFTMAX, _SIGMOID}
    for scale in (0.0, 0.3, 1.0):
        for variable in model.trainable_variables if scale else ():
            noise = draw.normal(scale=scale, size=variable.shape)
            variable.assign_add(tf.cast(noise, variable.dtype))
        p = np.asarray(enter(model, x, way_in), np.float64)
        if not np.isfinite(p).all() or p.min() < 0 or p.max() > 1:
            return ""
        if p.max() == 0:
            found.clear()  # A ReLU that is off.
        if p.shape[-1] < 2 or np.abs(p.sum(-1) - 1).max() > 1e-2:
            found.discard(_SOFTMAX)
    for name in (_SOFTMAX, _SIGMOID):
        if name in found:
            return name
    return ""


def fitted(
    model: tf.keras.Model,
    shape: Sequence[int],
    dtype: str,
    way_in: Entrance,
    way_out: Exit,
) -> tf.keras.Model:
    """Returns a model with the ends of a task.

    Args:
      model: A new model of the user; its last layer may be changed.
      shape: The shape of one example of the task.
      dtype: The type of the examples.
      way_in: How they are brought into the model.
      way_out: How its outputs are brought to those of the task.

    Returns:
      `model` itself, not compiled, if its ends are those of the task already.
    """
    compat.undo_compile(model)
    if way_out.activation:
        model = without_activation(model)
    if not (
        way_in.words
        or way_in.encoder_fn
        or way_out.inverse
        or way_out.two
        or way_out.cast
    ):
        return model
    inputs = tf.keras.Input(shape, dtype=dtype)
    values = inputs
    if way_in.encoder_fn is not None:
        values = way_in.encoder_fn()(values)
    values = _brought(values, way_in)
    output = model(values)
    if way_out.cast:
        output = tf.cast(output, tf.float32)
    if way_out.inverse:
        p = tf.clip_by_value(output, _LEAST, 1 - _LEAST)
        output = tf.math.log(p)
        if way_out.inverse == _SIGMOID:
            output = output - tf.math.log(1.0 - p)
    if way_out.two:
        output = tf.concat([tf.zeros_like(output), output], axis=-1)
    # No column of a table is called so; see `table_serving.input_names`.
    return tf.keras.Model(inputs, output, name="own.model")
