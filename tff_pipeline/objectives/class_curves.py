"""Curves that show how good predicted classes are: ROC and reliability."""

import dataclasses

import numpy as np
from scipy import special
from sklearn import metrics

from tff_pipeline.objectives import class_scores
from tff_pipeline.objectives.set_metric import Array

_BINS = 15
_POINTS = 101  # Of a curve, for a picture shows no more.


@dataclasses.dataclass(frozen=True)
class Roc:
    """The receiver operating characteristic of a class against all others.

    Attributes:
      label: The class, its place among the outputs.
      area: The area under the curve, 0 to 1.
      false_positives: The share of the others that is taken for the class,
        float [points], ascending from 0 to 1.
      true_positives: The share of the class that is found then, likewise.
    """

    label: int
    area: float
    false_positives: Array
    true_positives: Array


@dataclasses.dataclass(frozen=True)
class Reliability:
    """How often the likeliest class is right, beside how sure the model is.

    Attributes:
      confidence: The mean probability of the likeliest class in each bin that
        holds examples, float [bins].
      right: The share of these examples whose likeliest class is the true one.
      share: The share of all examples that the bin holds.
    """

    confidence: Array
    right: Array
    share: Array


def roc_curves(y: Array, outputs: Array) -> list[Roc]:
    """Returns a curve for each class that occurs, or of two for the second.

    Example:
      >>> logits = np.array([[1.0, 0.0], [0.0, 1.0], [0.0, 2.0]])
      >>> [curve.area for curve in roc_curves(np.array([0, 1, 1]), logits)]
      [1.0]

    Args:
      y: The classes, whole numbers of any type, [n] or [n, 1].
      outputs: Logits, float [n, classes]; or [n, 1], of the second of two.

    Returns:
      The curves in the classes' order, each of at most 101 points; without
      those of classes that every example or none is of.
    """
    labels, logits = _finite(y, outputs)
    if logits.shape[1] == 2:
        scores = {1: logits[:, 1] - logits[:, 0]}
    else:
        normalizers = special.logsumexp(logits, axis=1)
        scores = {
            int(each): logits[:, each] - normalizers
            for each in np.unique(labels)
        }
    curves = []
    for label, ranks in scores.items():
        positive = labels == label
        area = class_scores.area_under_curve(positive, ranks)
        if np.isnan(area):
            continue
        false, true, _ = metrics.roc_curve(
            positive, class_scores.bounded(ranks)
        )
        grid = np.linspace(0, 1, _POINTS)
        if len(false) > _POINTS:
            # Where it rises at once, a curve has the higher of two heights.
            places = np.searchsorted(false, grid, side="right") - 1
            false, true = grid, true[places]
        curves.append(Roc(label, area, false, true))
    return curves


def reliability(y: Array, outputs: Array) -> Reliability:
    """Sorts examples by how sure the model is, into 15 bins of equal width.

    The mean distance of `right` from `confidence`, weighted by `share`, is the
    calibration error of `class_scores.calibration_error`.

    Args:
      y: The classes, whole numbers of any type, [n] or [n, 1].
      outputs: Logits, float [n, classes]; or [n, 1], of the second of two.
    """
    labels, logits = _finite(y, outputs)
    normalizers = special.logsumexp(logits, axis=1)
    confidence = np.exp(logits.max(axis=1, initial=-np.inf) - normalizers)
    right = logits.argmax(axis=1) == labels
    # A bin has its upper end.
    bins = np.clip(np.ceil(confidence * _BINS).astype(int) - 1, 0, _BINS - 1)
    counts = np.bincount(bins, minlength=_BINS)
    filled = counts > 0
    sums = [
        np.bincount(bins, weights=each, minlength=_BINS)[filled]
        for each in (confidence, right)
    ]
    return Reliability(
        sums[0] / counts[filled],
        sums[1] / counts[filled],
        counts[filled] / max(1, len(labels)),
    )


def _finite(y: Array, outputs: Array) -> tuple[Array, Array]:
    """Returns labels and logits of the examples whose outputs are finite."""
    logits = class_scores.logits_of(outputs)
    finite = np.isfinite(logits.max(axis=1, initial=-np.inf))
    return np.reshape(y, [-1]).astype(np.int64)[finite], logits[finite]
