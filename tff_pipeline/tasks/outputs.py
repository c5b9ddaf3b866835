"""What an exported model gives, by name, from what the trained one gives."""

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


def of_labels(logits: tf.Tensor) -> dict[str, tf.Tensor]:
    """Logits and probabilities of labels that do not exclude each other."""
    return {"logits": logits, "probabilities": tf.sigmoid(logits)}


def of_values(values: tf.Tensor) -> dict[str, tf.Tensor]:
    """The predicted numbers."""
    return {"value": values}
