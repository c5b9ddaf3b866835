"""Named outputs of an exported model, made from the trained model's output.

Each function takes the output of a model and returns the exported tensors by
name; the names are part of the SavedModel's signature.
"""

from collections.abc import Sequence

import tensorflow as tf

# How many of the likeliest labels are named.
_MOST_LABELS = 5


def class_outputs(logits: tf.Tensor) -> dict[str, tf.Tensor]:
    """Returns logits, probabilities and the likeliest class.

    Args:
      logits: float32 [batch, ..., classes].

    Returns:
      `logits` and `probabilities`, both of the shape of `logits`, and
      `class_id`, int64 [batch, ...].

    >>> class_outputs(tf.constant([[0.0, 2.0]]))["class_id"].numpy().tolist()
    [1]
    """
    return {
        "logits": logits,
        "probabilities": tf.nn.softmax(logits),
        "class_id": tf.argmax(logits, axis=-1),
    }


def named_class_outputs(
    names: Sequence[str], logits: tf.Tensor
) -> dict[str, tf.Tensor]:
    """Returns `class_outputs` and the likeliest class's name.

    Args:
      names: The classes' names, in order.
      logits: float32 [batch, ..., classes].

    Returns:
      As `class_outputs`, and `class_name`, string [batch, ...].

    >>> result = named_class_outputs(["no", "yes"], tf.constant([[0.0, 2.0]]))
    >>> result["class_name"].numpy().tolist()
    [b'yes']
    """
    result = class_outputs(logits)
    return {**result, "class_name": tf.gather(list(names), result["class_id"])}


def next_symbol_outputs(
    symbols: Sequence[bytes], logits: tf.Tensor
) -> dict[str, tf.Tensor]:
    """Returns `class_outputs` and the likeliest next symbol of a text.

    Args:
      symbols: The classes' symbols, in order; empty for a class without one.
      logits: float32 [batch, classes].

    Returns:
      As `class_outputs`, and `next`, string [batch].

    >>> result = next_symbol_outputs([b"a", b"b"], tf.constant([[0.0, 2.0]]))
    >>> result["next"].numpy().tolist()
    [b'b']
    """
    result = class_outputs(logits)
    symbol = tf.gather(tf.constant(list(symbols)), result["class_id"])
    return {**result, "next": symbol}


def label_outputs(logits: tf.Tensor) -> dict[str, tf.Tensor]:
    """Returns logits and probabilities of labels that may hold together.

    Args:
      logits: float32 [batch, labels].

    Returns:
      `logits` and `probabilities` (their sigmoid), of the same shape.

    >>> label_outputs(tf.zeros([1, 2]))["probabilities"].numpy().tolist()
    [[0.5, 0.5]]
    """
    return {"logits": logits, "probabilities": tf.sigmoid(logits)}


def named_label_outputs(
    names: Sequence[str], logits: tf.Tensor
) -> dict[str, tf.Tensor]:
    """Returns `label_outputs` and the names of the five likeliest labels.

    Args:
      names: The labels' names, in order.
      logits: float32 [batch, labels].

    Returns:
      As `label_outputs`, and `tags`, string [batch, 5] (or as many as there
      are labels), the likeliest first.
    """
    most = min(_MOST_LABELS, len(names))
    likeliest = tf.math.top_k(logits, most).indices
    tags = tf.gather(tf.constant(list(names)), likeliest)
    return {**label_outputs(logits), "tags": tags}


def value_outputs(values: tf.Tensor) -> dict[str, tf.Tensor]:
    """Returns predicted numbers as `value`.

    Args:
      values: float32 [batch, ...].
    """
    return {"value": values}


def squeezed_value_outputs(values: tf.Tensor) -> dict[str, tf.Tensor]:
    """Returns predicted numbers as `value`, a single one without its axis.

    Args:
      values: float32 [batch, outputs].

    Returns:
      `value`, float32 [batch] for one output, else [batch, outputs].

    >>> squeezed_value_outputs(tf.constant([[3.0], [4.0]]))["value"].numpy()
    array([3., 4.], dtype=float32)
    """
    if values.shape[-1] == 1:
        values = tf.squeeze(values, -1)
    return value_outputs(values)


def hazard_outputs(score: tf.Tensor) -> dict[str, tf.Tensor]:
    """Returns a patient's hazard as `log_hazard`.

    Args:
      score: float32 [batch, 1], the logarithm of the hazard relative to a
        patient whose score is 0 (see `survival.CoxLoss`).
    """
    return {"log_hazard": score}
