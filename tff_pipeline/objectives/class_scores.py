"""Scores of predicted classes over a test set, as people report them.

scikit-learn computes them; here stands what it is asked. A score that is not
defined, such as the area under the curve of one class, is NaN.
"""

import dataclasses
from collections.abc import Mapping

import numpy as np
from scipy import special
from sklearn import metrics

from tff_pipeline.objectives.set_metric import Array

_BINS = 15
# So far out that no score lies beyond; scikit-learn takes no infinite ones.
_FAR = 1e300
_DIGITS = 12


@dataclasses.dataclass(frozen=True)
class ClassScores:
    """Scores of a test set, of all classes together and of each.

    Attributes:
      rows: The number of examples that are counted.
      not_finite: The number of examples that are not, for the model's output
        for them is not finite.
      values: Score -> value, NaN where it is not defined; see `class_scores`.
      precision: The share of the examples predicted to be of a class that are
        of it, float64 [classes]; NaN where none is predicted to be.
      recall: The share of the examples of a class that are predicted to be,
        float64 [classes]; NaN where there are none.
      f1: The harmonic mean of both, float64 [classes]; NaN for a class that
        neither occurs nor is predicted.
      confusion: The number of examples of a class (row) that are predicted to
        be of a class (column), int64 [classes, classes].
    """

    rows: int
    not_finite: int
    values: Mapping[str, float]
    precision: Array
    recall: Array
    f1: Array
    confusion: Array


def class_scores(
    y: Array, outputs: Array, threshold: float = 0.5, ranked: bool = True
) -> ClassScores:
    """Scores predicted classes.

    Of two classes, the second is the positive one: it is predicted where its
    probability is above the threshold. Of more, the likeliest is predicted.

    `values` has "accuracy"; "balanced_accuracy", the mean recall of the classes
    that occur; "f1", of the positive class, or the mean over the classes that
    occur or are predicted (macro); of two classes "sensitivity" and
    "specificity", the recalls of the positive class and of the other; "auc",
    the area under the receiver operating characteristic, and "pr_auc", the
    average precision, which is the area under the curve of precision and
    recall, of the positive class, or of each class that occurs against all
    others, their mean; and "calibration_error", see `calibration_error`.

    >>> logits = np.array([[1.0, 0.0], [0.0, 1.0], [0.0, 2.0]])
    >>> scores = class_scores(np.array([0, 0, 1]), logits)
    >>> scores.values["sensitivity"], scores.values["specificity"]
    (1.0, 0.5)
    >>> scores.confusion.tolist()
    [[1, 1], [0, 1]]

    Args:
      y: The classes, whole numbers of any type, [n] or [n, 1].
      outputs: Logits, float [n, classes]; or [n, 1], of the second of two.
      threshold: A probability above 0 and below 1; for two classes only.
      ranked: Whether to compute "auc" and "pr_auc".
    """
    logits = logits_of(outputs)
    # A probability may be 0, but some must be above.
    finite = np.isfinite(logits.max(axis=1, initial=-np.inf))
    labels = np.reshape(y, [-1]).astype(np.int64)[finite]
    logits = logits[finite]
    count = logits.shape[1]
    normalizers = special.logsumexp(logits, axis=1)
    likeliest = logits.argmax(axis=1)
    predicted = likeliest
    if count == 2:
        limit = special.logit(threshold)
        predicted = (_margin(logits) > limit).astype(np.int64)
    values = {"accuracy": _mean(predicted == labels)}
    known = list(range(count))
    if len(labels):
        precision, recall, f1, _ = metrics.precision_recall_fscore_support(
            labels, predicted, labels=known, zero_division=np.nan
        )
        confusion = metrics.confusion_matrix(labels, predicted, labels=known)
    else:
        precision = recall = f1 = np.full([count], np.nan)
        confusion = np.zeros([count, count], np.int64)
    values["balanced_accuracy"] = _mean(recall)
    values["f1"] = float(f1[1]) if count == 2 else _mean(f1)
    if count == 2:
        values["sensitivity"], values["specificity"] = map(float, recall[::-1])
    if ranked:
        values["auc"], values["pr_auc"] = _areas(labels, logits, normalizers)
    values["calibration_error"] = calibration_error(
        likeliest == labels, np.exp(logits.max(axis=1) - normalizers)
    )
    return ClassScores(
        len(labels),
        int(np.sum(~finite)),
        values,
        precision,
        recall,
        f1,
        confusion,
    )


def balanced_accuracy(y: Array, outputs: Array) -> float:
    """Returns the mean recall of the classes that occur; NaN for NaN outputs.

    >>> logits = np.array([[1.0, 0.0], [0.0, 1.0], [0.0, 2.0]])
    >>> balanced_accuracy(np.array([0, 0, 1]), logits)
    0.75

    Args:
      y: The classes, int [n].
      outputs: As `class_scores` takes them.
    """
    logits = logits_of(outputs)
    if np.isnan(logits).any():
        return float("nan")
    return float(
        metrics.recall_score(
            y,
            logits.argmax(axis=1),
            labels=np.unique(y),
            average="macro",
        )
    )


def area_under_curve(positive: Array, scores: Array) -> float:
    """Returns the area under the receiver operating characteristic (ROC).

    This is the probability that a random positive example gets a higher score
    than a random other one; equal scores count one half.

    >>> area_under_curve(np.array([False, True]), np.array([1.0, 2.0]))
    1.0

    Args:
      positive: Whether an example is positive, bool [n].
      scores: float [n].

    Returns:
      A number from 0 to 1; NaN if all examples are positive or none is, or a
      score is NaN.
    """
    if positive.all() or not positive.any() or np.isnan(scores).any():
        return float("nan")
    return float(metrics.roc_auc_score(positive, bounded(scores)))


def calibration_error(right: Array, confidence: Array) -> float:
    """Returns the expected calibration error (Guo et al. 2017, equation 3).

    The probability of the likeliest class, which is the confidence, falls into
    one of 15 bins of equal width; the error is the mean over examples of the
    distance, in their bin, of the mean confidence from the share that is right.

    >>> calibration_error(np.array([True, False]), np.array([0.9, 0.9]))
    0.4

    Args:
      right: Whether the likeliest class is the true one, bool [n].
      confidence: float [n], above 0 and at most 1.

    Returns:
      0 to 1; NaN without examples.
    """
    if not len(right):
        return float("nan")
    # A bin has its upper end.
    bins = np.clip(np.ceil(confidence * _BINS).astype(int) - 1, 0, _BINS - 1)
    surplus = np.bincount(bins, weights=right - confidence, minlength=_BINS)
    return float(np.abs(surplus).sum() / len(right))


def constant_logits(y: Array, count: int) -> Array:
    """Returns the outputs of the best model that does not look at examples.

    Its probabilities are the shares of the classes, so that it predicts the
    most frequent class.

    >>> np.exp(constant_logits(np.array([0, 1, 1, 1]), 2)).tolist()[0]
    [0.25, 0.75]

    Args:
      y: The classes, whole numbers of any type, [n] or [n, 1].
      count: The number of classes.

    Returns:
      float64 [n, count], a view of one row.
    """
    labels = np.reshape(y, [-1]).astype(np.int64)
    shares = np.bincount(labels, minlength=count) / len(labels)
    with np.errstate(divide="ignore"):  # A class that is absent.
        return np.broadcast_to(np.log(shares), [len(labels), count])


def logits_of(outputs: Array) -> Array:
    """Makes of one logit, the second class's, one for each of two.

    Args:
      outputs: Logits, float [n, classes]; or [n, 1], of the second of two.

    Returns:
      float64 [n, classes].
    """
    if outputs.shape[1] == 1:
        outputs = np.concatenate([np.zeros_like(outputs), outputs], axis=1)
    return np.asarray(outputs, np.float64)


def _margin(logits: Array) -> Array:
    return logits[:, 1] - logits[:, 0]


def bounded(scores: Array) -> Array:
    """Makes scores finite, as scikit-learn wants them.

    Args:
      scores: float [n], none of them NaN.
    """
    return np.clip(np.asarray(scores, np.float64), -_FAR, _FAR)


def _mean(values: Array) -> float:
    """Returns the mean of all that is defined; NaN if nothing is."""
    values = np.asarray(values, np.float64)
    defined = values[~np.isnan(values)]
    return float(np.mean(defined)) if len(defined) else float("nan")


def _areas(
    labels: Array, logits: Array, normalizers: Array
) -> tuple[float, float]:
    """Returns the areas under both curves, of each class against all others."""
    if logits.shape[1] == 2:
        ranks = {1: _margin(logits)}
    else:
        # float64 tells probabilities near 1 apart, where float32 has ties; its
        # last digits are those of the sum's order, and would part real ties.
        ranks = {
            int(each): np.round(logits[:, each] - normalizers, _DIGITS)
            for each in np.unique(labels)
        }
    curves = [
        (area_under_curve(labels == each, scores), labels == each, scores)
        for each, scores in ranks.items()
    ]
    precisions = [
        float("nan")
        if np.isnan(area)
        else float(metrics.average_precision_score(positive, bounded(scores)))
        for area, positive, scores in curves
    ]
    return _mean(np.array([area for area, *_ in curves])), _mean(
        np.array(precisions)
    )
