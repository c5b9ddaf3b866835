"""A loss that weighs classes, as `class_weight` of Keras's `fit` does."""

import functools
from collections.abc import Callable, Sequence

import numpy as np
import tensorflow as tf

from tff_pipeline.objectives.set_metric import Array
from tff_pipeline.runtime import compat

LossFn = Callable[[], tf.keras.losses.Loss]


class ClassWeightedLoss(tf.keras.losses.Loss):
    """The mean over a batch of each example's loss times its class's weight.

    For a batch of B examples with the losses l and the classes y it is

        (w[y_1] l_1 + ... + w[y_B] l_B) / B,

    divided by the number of examples and not by the sum of their weights. So
    the mean of clients' losses, weighted by their examples, is the loss of all
    examples together, as it is without weights.

    >>> loss = tf.keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    >>> weighted = ClassWeightedLoss(loss, [1.0, 3.0])
    >>> round(float(weighted(tf.constant([0, 1]), tf.zeros([2, 2]))), 4)
    1.3863
    """

    def __init__(self, loss: tf.keras.losses.Loss, weights: Sequence[float]):
        """Makes the loss.

        Args:
          loss: The loss without weights, a mean over examples.
          weights: A weight for each class, in order.
        """
        super().__init__(name=loss.name)
        self._loss = loss
        self._weights = list(weights)

    @compat.plain
    def call(self, y_true: tf.Tensor, y_pred: tf.Tensor) -> tf.Tensor:
        """Returns the mean, a float32 scalar.

        Args:
          y_true: The classes, whole numbers of any type, [batch] or [batch, 1].
          y_pred: What the loss without weights takes, [batch, ...].
        """
        classes = tf.reshape(tf.cast(y_true, tf.int32), [-1])
        weights = tf.gather(tf.constant(self._weights, tf.float32), classes)
        return self._loss(y_true, y_pred, sample_weight=weights)


def weighted(loss_fn: LossFn, weights: Sequence[float]) -> LossFn:
    """Returns a function that makes the loss of `loss_fn` with weights.

    Args:
      loss_fn: Makes the loss without weights.
      weights: A weight for each class, in order.
    """
    return functools.partial(_weighted, loss_fn, tuple(weights))


def _weighted(
    loss_fn: LossFn, weights: Sequence[float]
) -> tf.keras.losses.Loss:
    return ClassWeightedLoss(loss_fn(), weights)


def balanced(counts: Array) -> list[float]:
    """Returns weights that let all classes count the same in the loss.

    A class's weight is n / (k n_c): n examples in all, n_c of the class, k
    classes that occur (after King and Zeng 2001, "Logistic Regression in Rare
    Events Data"; scikit-learn's "balanced"). Over all examples, its mean is 1.

    >>> balanced(np.array([8, 2, 0]))
    [0.625, 2.5, 1.0]

    Args:
      counts: The number of examples of each class, int [classes]; a class
        without any gets 1.
    """
    counts = np.asarray(counts, np.float64)
    occurring = counts > 0
    each = counts.sum() / (occurring.sum() * np.maximum(counts, 1))
    return np.where(occurring, each, 1.0).tolist()
