"""Cox's proportional hazards: its loss, and how well scores order patients.

Cox 1972, "Regression Models and Life-Tables"; Harrell et al. 1982, "Evaluating
the Yield of Medical Tests" (concordance).
"""

import numpy as np
import tensorflow as tf


@tf.keras.utils.register_keras_serializable(package="tff_pipeline")
class CoxLoss(tf.keras.losses.Loss):
    """The negative log partial likelihood over a batch, a mean over patients.

    Of every patient whose death was seen: minus the score, plus the logarithm
    of the sum of exp(score) over all in the batch who lived at least as long.
    All others count 0, so a batch without a death has loss 0 and gradient 0.
    Patients who died on the same day are in each other's sum (Breslow 1974).
    """

    def call(self, y_true: tf.Tensor, y_pred: tf.Tensor) -> tf.Tensor:
        """Loss of each patient.

        Args:
          y_true: float32 [batch, 2]: event (1 or 0) and time.
          y_pred: float32 [batch, 1]: the logarithm of the hazard.

        Returns:
          float32 [batch].
        """
        event, time = y_true[:, 0], y_true[:, 1]
        score = y_pred[:, 0]
        at_risk = time[tf.newaxis, :] >= time[:, tf.newaxis]
        # So far below all scores that its exponential is 0, yet finite.
        scores = tf.where(at_risk, score[tf.newaxis, :], -1e30)
        return event * (tf.reduce_logsumexp(scores, axis=1) - score)


def concordance_index(y: np.ndarray, scores: np.ndarray) -> float:
    """How often, of two patients, the one with the higher score dies first.

    A pair counts if one's death was seen and the other lived longer, or was
    last seen alive at that time. Equal scores are half right.

    Args:
      y: float [n, 2]: event (1 or 0) and time.
      scores: float [n, 1]; high is a high risk.

    Returns:
      0 to 1; 0.5, which says nothing, where no pair counts.
    """
    event, time = y[:, 0] == 1, y[:, 1]
    score = scores[:, 0]
    longer = time[np.newaxis, :] > time[:, np.newaxis]
    also = (time[np.newaxis, :] == time[:, np.newaxis]) & ~event[np.newaxis, :]
    pairs = event[:, np.newaxis] & (longer | also)
    if not pairs.any():
        return 0.5
    difference = score[:, np.newaxis] - score[np.newaxis, :]
    right = (difference > 0) + 0.5 * (difference == 0)
    return float(right[pairs].mean())
