"""Losses and metrics of two classes, 0 and 1."""

import numpy as np
import tensorflow as tf
from scipy import special

from tff_pipeline.objectives import class_scores
from tff_pipeline.objectives.set_metric import Array

# In the German credit data, a bad applicant who is accepted costs 5, and a good
# one who is refused costs 1; refusing at this probability of "bad" and above
# costs least.
_REFUSAL_THRESHOLD = 1 / 6


def logit_cross_entropy() -> tf.keras.losses.Loss:
    """Returns the cross-entropy of one logit an example, [batch, 1]."""
    return tf.keras.losses.BinaryCrossentropy(from_logits=True)


def logit_accuracy() -> tf.keras.metrics.Metric:
    """Returns the accuracy, named "accuracy", of one logit an example.

    A logit above 0, that is a probability above one half, predicts class 1.

    >>> accuracy = logit_accuracy()
    >>> _ = accuracy.update_state([[1.0], [1.0]], [[0.3], [-0.3]])
    >>> accuracy.result().numpy()
    0.5
    """
    return tf.keras.metrics.BinaryAccuracy(name="accuracy", threshold=0.0)


def area_under_curve(y: Array, logits: Array) -> float:
    """Returns the area under the receiver operating characteristic (ROC).

    This is the probability that a random example of class 1 gets a higher score
    than a random example of class 0; equal scores count one half.

    Args:
      y: int [n], the classes, 0 or 1.
      logits: float [n, 2]; the score is the second minus the first.

    Returns:
      A number from 0 to 1; NaN if `y` has one class only, or a logit is NaN.

    >>> area_under_curve(np.array([0, 1]), np.array([[0.0, 1.0], [0.0, 2.0]]))
    1.0
    """
    return class_scores.area_under_curve(y == 1, logits[:, 1] - logits[:, 0])


def german_credit_cost(y: Array, logits: Array) -> float:
    """Returns the mean cost of an applicant for credit (Hofmann 1994).

    The cost matrix comes with UCI's Statlog German Credit data: 5 for a bad
    applicant who is accepted, 1 for a good one who is refused. An applicant is
    refused who is bad with a probability above 1/6, as that costs least.

    Args:
      y: int [n], 1 for a bad applicant, 0 for a good one.
      logits: float [n, 2].

    Returns:
      The mean cost, 0 to 5.

    >>> german_credit_cost(np.array([1, 0]), np.array([[9.0, 0.0], [9.0, 0.0]]))
    2.5
    """
    refused = special.softmax(logits, axis=1)[:, 1] > _REFUSAL_THRESHOLD
    return float(np.mean(np.where(y == 1, 5 * ~refused, refused)))
