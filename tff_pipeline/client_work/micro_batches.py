"""The gradient of a batch, some examples at a time."""

from collections.abc import Sequence
from typing import Any, Optional

import tensorflow as tf
import tensorflow_federated as tff


def gradient(
    model: tff.learning.models.VariableModel,
    x: tf.Tensor,
    y: tf.Tensor,
    at_once: Optional[int],
    training: bool = True,
    variables: Optional[Sequence[tf.Variable]] = None,
) -> Sequence[tf.Tensor]:
    """Takes the gradient of a batch's loss.

    Args:
      model: The model.
      x: Inputs, [batch, ...].
      y: Labels, [batch, ...].
      at_once: The number of examples that are computed at a time; `None` for
        all. The result is the same but for rounding.
      training: Whether layers such as dropout are as in training.
      variables: The variables of the model with respect to which it is taken;
        by default those that are trainable.

    Returns:
      A tensor for each of the variables.
    """
    trainable = variables or model.trainable_variables

    def one(x: tf.Tensor, y: tf.Tensor) -> Sequence[tf.Tensor]:
        with tf.GradientTape() as tape:
            output = model.forward_pass((x, y), training=training)
        return tape.gradient(output.loss, trainable)

    if at_once is None:
        return one(x, y)
    # Of a loss that is a mean over tokens the mean of two batches' means is
    # not that of both: each counts by its terms.
    count = getattr(model, "loss_terms", lambda y: tf.shape(y)[0])
    total = tf.cast(count(y), tf.float32)

    def add(start: tf.Tensor, sums: Any) -> Any:
        here = slice(start, start + at_once)
        terms = tf.cast(count(y[here]), tf.float32)
        share = tf.math.divide_no_nan(terms, total)
        return start + at_once, tuple(
            before + share * tf.convert_to_tensor(more)
            for before, more in zip(sums, one(x[here], y[here]))
        )

    _, sums = tf.while_loop(
        lambda start, _: start < tf.shape(x)[0],
        add,
        (tf.constant(0), tuple(map(tf.zeros_like, trainable))),
        parallel_iterations=1,
    )
    return sums
