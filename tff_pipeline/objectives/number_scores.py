"""Scores of predicted numbers over a test set; scikit-learn computes them."""

import numpy as np
from sklearn import metrics

from tff_pipeline.objectives.set_metric import Array


def number_scores(y: Array, predicted: Array) -> dict[str, float]:
    """Scores predicted numbers.

    >>> scores = number_scores(np.array([[1.0], [3.0]]), np.array([[1.0], [2]]))
    >>> scores["mean_absolute_error"], scores["r_squared"]
    (0.5, 0.5)

    Args:
      y: The labels, float [n, outputs].
      predicted: Of the same shape.

    Returns:
      "mean_absolute_error" and "root_mean_squared_error", in the labels' unit,
      and "r_squared", 1 minus the squared error over that of the labels' mean,
      averaged over the outputs. All are NaN if a prediction is not finite, and
      the last is if an output has the same label in all examples.
    """
    names = ("mean_absolute_error", "root_mean_squared_error", "r_squared")
    if not np.isfinite(predicted).all():
        return dict.fromkeys(names, float("nan"))
    # In float64, in which no square of a float32 number overflows.
    y, predicted = np.asarray(y, np.float64), np.asarray(predicted, np.float64)
    constant = (y == y[:1]).all(axis=0).any()
    values = (
        metrics.mean_absolute_error(y, predicted),
        np.sqrt(metrics.mean_squared_error(y, predicted)),
        np.nan if constant else metrics.r2_score(y, predicted),
    )
    return dict(zip(names, map(float, values)))


def r_squared(y: Array, predicted: Array) -> float:
    """Returns "r_squared" of `number_scores`.

    Args:
      y: The labels, float [n, outputs].
      predicted: Of the same shape.
    """
    return number_scores(y, predicted)["r_squared"]


def constant_numbers(y: Array) -> Array:
    """Returns the predictions of the best model that sees no example: the mean.

    Args:
      y: The labels, float [n, outputs].

    Returns:
      float64 [n, outputs], a view of one row.
    """
    return np.broadcast_to(np.mean(y, axis=0, dtype=np.float64), y.shape)
