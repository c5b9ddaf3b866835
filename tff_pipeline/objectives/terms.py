"""The number of terms of which a batch's loss is the mean.

It is the number of examples for most losses. A loss whose terms are others,
such as tokens, has a method `terms` of the labels.
"""

from collections.abc import Callable
from typing import Optional

import tensorflow as tf

TermsFn = Callable[[tf.Tensor], tf.Tensor]


def terms_fn(loss: tf.keras.losses.Loss) -> Optional[TermsFn]:
    """Returns the function that counts the terms of a loss.

    Args:
      loss: The loss.

    Returns:
      A function from labels [batch, ...] to a float32 scalar; `None` if the
      terms are examples.
    """
    return getattr(loss, "terms", None)
