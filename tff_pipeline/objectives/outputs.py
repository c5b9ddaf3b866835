"""What an exported model gives, by name, from what the trained one gives."""

from collections.abc import Sequence

import tensorflow as tf


def of_classes(logits: tf.Tensor) -> dict[str, tf.Tensor]:
    """Logits, probabilities and the likeliest class, over the last axis.

    Args:
      logits: float32 [batch, ..., classes].

    Returns:
      `logits` and `probabilities`, of the same shape, and `class_id`, int64
      [batch, ...].
    """
    return {
        "logits": logits,
        "probabilities": tf.nn.softmax(logits),
        "class_id": tf.argmax(logits, axis=-1),
    }


def of_named_classes(
    names: Sequence[str], logits: tf.Tensor
) -> dict[str, tf.Tensor]:
    """As `of_classes`, and `class_name`, string: the name of `class_id`."""
    given = of_classes(logits)
    return {**given, "class_name": tf.gather(list(names), given["class_id"])}


def of_labels(logits: tf.Tensor) -> dict[str, tf.Tensor]:
    """Logits and probabilities of labels that do not exclude each other."""
    return {"logits": logits, "probabilities": tf.sigmoid(logits)}


def of_values(values: tf.Tensor) -> dict[str, tf.Tensor]:
    """The predicted numbers."""
    return {"value": values}
