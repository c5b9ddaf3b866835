"""Loss and concordance index of Cox's proportional hazards model.

Cox 1972, "Regression Models and Life-Tables"; Harrell et al. 1982, "Evaluating
the Yield of Medical Tests" (concordance).
"""

import numpy as np
import tensorflow as tf

from tff_pipeline.objectives.set_metric import Array
from tff_pipeline.runtime import compat


@tf.keras.utils.register_keras_serializable(package="tff_pipeline")
class CoxLoss(tf.keras.losses.Loss):
    """The negative log partial likelihood of a batch (Cox 1972, equation 12).

    A patient i whose death was seen adds

        log(sum over j with time_j >= time_i of exp(score_j)) - score_i,

    the sum being over the patients of the batch. Patients who left the study
    alive add 0, so a batch without a death has loss 0 and gradient 0. Patients
    who died at the same time are in each other's sum (Breslow 1974).

    >>> patients = tf.constant([[1.0, 2.0], [0.0, 3.0]])
    >>> CoxLoss(reduction="none")(patients, tf.zeros([2, 1])).numpy().round(4)
    array([0.6931, 0.    ], dtype=float32)
    """

    @compat.plain
    def call(self, y_true: tf.Tensor, y_pred: tf.Tensor) -> tf.Tensor:
        """Returns each patient's loss, float32 [batch].

        Args:
          y_true: float32 [batch, 2]: the event (1 for a death, 0 for the end of
            observation) and its time.
          y_pred: float32 [batch, 1], scores: the logarithm of the hazard.
        """
        event, time = y_true[:, 0], y_true[:, 1]
        score = y_pred[:, 0]
        at_risk = time[tf.newaxis, :] >= time[:, tf.newaxis]
        # So far below all scores that its exponential is 0, yet finite.
        scores = tf.where(at_risk, score[tf.newaxis, :], -1e30)
        return event * (tf.reduce_logsumexp(scores, axis=1) - score)


def concordance_index(y: Array, scores: Array) -> float:
    """Returns how often, of two patients, the higher score dies first.

    A pair of patients counts if the death of one was seen and the other lived
    longer, or was last seen alive at that time (Harrell et al. 1982). A pair
    with equal scores counts one half.

    Args:
      y: float [n, 2]: the event (1 for a death, 0 for the end of observation)
        and its time.
      scores: float [n, 1]; a high score is a high risk.

    Returns:
      A number from 0 to 1; 0.5, which says nothing, if no pair counts.

    >>> times = np.array([[1.0, 2.0], [1.0, 3.0]])
    >>> concordance_index(times, np.array([[5.0], [4.0]]))
    1.0
    """
    event, time = y[:, 0] == 1, y[:, 1]
    score = scores[:, 0]
    longer = time[np.newaxis, :] > time[:, np.newaxis]
    censored = (time[np.newaxis, :] == time[:, np.newaxis]) & ~event
    pairs = event[:, np.newaxis] & (longer | censored)
    if not pairs.any():
        return 0.5
    difference = score[:, np.newaxis] - score[np.newaxis, :]
    concordant = (difference > 0) + 0.5 * (difference == 0)
    return float(concordant[pairs].mean())
