"""Infers who a model was trained on, and how well that can be told.

The threshold attack of Yeom et al. 2018 ("Privacy Risk in Machine Learning")
and the trained attack of Shokri et al. 2017 with logistic regression, as
TensorFlow Privacy's `membership_inference_attack` defines them: that is not in
its wheel, and the package that has it fails to import with this scikit-learn,
so they are made of scikit-learn here. Beside them stands an attack that never
asks the model: it finds how the two sets of examples differ anyway (Das et al.
2024, "Blind Baselines Beat Membership Inference Attacks for Foundation
Models"). Needs no TensorFlow.
"""

import dataclasses
import math
from typing import Any, Optional

import numpy as np
import numpy.typing as npt
import scipy.special
import scipy.stats
from sklearn import (
    decomposition,
    linear_model,
    metrics,
    model_selection,
    pipeline,
    preprocessing,
)

Array = npt.NDArray[Any]

CONFIDENCE = 0.95
LEAST = 10  # Members, and non-members, below which nothing can be said.
_COMPONENTS = 50  # Of inputs, for the attack that never asks the model.
_BUCKETS = 64  # For ids, likewise.
_LOW_RATE = 0.01  # Of false positives; Carlini et al. 2022.


@dataclasses.dataclass(frozen=True)
class Observed:
    """Holds what an attacker has of some examples.

    Attributes:
      losses: float64 [n], the model's loss on each; of a sequence the mean over
        its tokens.
      outputs: float64 [n, k], the model's logits, or nothing where k is 0.
      inputs: float64 [n, m], of the examples alone; see `blind_features`.
      labels: int64 [n], or `None` for sequences.
    """

    losses: Array
    outputs: Array
    inputs: Array
    labels: Optional[Array] = None

    def __len__(self) -> int:
        return len(self.losses)

    @property
    def finite(self) -> bool:
        """Says whether all losses and outputs are finite."""
        return bool(
            np.isfinite(self.losses).all() and np.isfinite(self.outputs).all()
        )


def cross_entropies(logits: Array, labels: Array) -> Array:
    """Computes the loss of each label.

    >>> cross_entropies(np.zeros([1, 4]), np.array([2])).round(4)
    array([1.3863])

    Args:
      logits: Floats [n, ..., classes], or [n, 1] of one class against none.
      labels: Whole numbers [n, ...]; 0 or 1 with one logit.

    Returns:
      float64 [n, ...].
    """
    logits = logits.astype(np.float64)
    labels = labels.astype(np.int64)
    if logits.shape[-1] == 1:
        return np.logaddexp(0, np.where(labels == 1, -1, 1) * logits[..., 0])
    own = np.take_along_axis(logits, labels[..., np.newaxis], axis=-1)[..., 0]
    return scipy.special.logsumexp(logits, axis=-1) - own


def blind_features(x: Array, labels: Optional[Array], classes: int) -> Array:
    """Computes features of examples without any model.

    Args:
      x: Inputs [n, ...]. Of ids, which are 32 or 64 bits wide, how often each
        occurs is counted, in a few buckets; text is left out.
      labels: int64 [n], below `classes`, or `None`.
      classes: The count of classes.

    Returns:
      float64 [n, m].
    """
    parts: list[Array] = [np.zeros([len(x), 0])]
    if labels is not None:
        parts.append(np.eye(classes)[labels])
    flat = x.reshape([len(x), -1])
    if x.dtype.kind in "iu" and x.dtype.itemsize > 2:
        buckets = flat.astype(np.int64) % _BUCKETS
        places = buckets + _BUCKETS * np.arange(len(x))[:, np.newaxis]
        counts = np.bincount(places.ravel(), minlength=_BUCKETS * len(x))
        parts.append(counts.reshape([len(x), _BUCKETS]))
    elif x.dtype.kind in "iufb":
        # No number is too strange for a patient's record.
        parts.append(np.nan_to_num(flat.astype(np.float64)))
    return np.concatenate(parts, axis=1)


def attacks(
    members: Observed, others: Observed, seed: int, per_class: bool = False
) -> dict[str, Any]:
    """Measures how well each attack tells members from others.

    Args:
      members: Examples that were trained on; at least `LEAST`.
      others: As many that were not.
      seed: The seed of the halves that the attacks learn from and are tested
        on.
      per_class: Whether to repeat the threshold attack for every class.

    Returns:
      A JSON object: "attacks": a list, each with "name", "words" and the
        figures
      of `figures`; "without_model": the same of the attack on inputs alone;
      "labels": see `label_difference`; "per_class": a list, each with "class"
      and figures.
    """
    losses = (-members.losses, -others.losses)
    asked, asked_others = (
        np.column_stack([each.outputs, each.losses])
        for each in (members, others)
    )
    asked_model = [
        {
            "name": "threshold",
            "words": "who has a low loss was trained on",
            **figures(*losses),
        },
        {
            "name": "logistic_regression",
            "words": "learns it from logits and losses of one half",
            **figures(*_learned(asked, asked_others, seed)),
        },
    ]
    blind = {
        "name": "inputs_alone",
        "words": "likewise from inputs and labels, without the model",
        **figures(*_learned(members.inputs, others.inputs, seed)),
    }
    return {
        "attacks": asked_model,
        "without_model": blind,
        "labels": label_difference(members.labels, others.labels),
        "per_class": _per_class(members, others) if per_class else [],
    }


def figures(members: Array, others: Array) -> dict[str, Any]:
    """Measures scores that should be higher for members.

    Args:
      members: float64 [n], members' scores.
      others: float64 [m], the others' scores.

    Returns:
      "auc" with "auc_interval", by DeLong et al. 1988; "advantage", the
      largest difference of true and false positive rates, either way round,
      with "advantage_interval", which holds for every threshold at once
      (Dvoretzky-Kiefer-Wolfowitz with Massart's constant) and is wide;
      "low_rate", the true positive rate at 1% false positives, or `None` with
      fewer than 100 others.
    """
    truth = np.repeat([1, 0], [len(members), len(others)])
    scores = np.concatenate([members, others])
    false, true, _ = metrics.roc_curve(truth, scores)
    advantage = float(np.max(np.abs(true - false)))
    # Each half with half of what may go wrong.
    wrong = math.log(4 / (1 - CONFIDENCE)) / 2
    margin = math.sqrt(wrong / len(members)) + math.sqrt(wrong / len(others))
    area, deviation = _area(members, others)
    half = scipy.stats.norm.ppf((1 + CONFIDENCE) / 2) * deviation
    low_rate = None
    if len(others) * _LOW_RATE >= 1:
        low_rate = float(np.max(true[false <= _LOW_RATE]))
    return {
        "auc": area,
        "auc_interval": _within(area - half, area + half),
        "advantage": advantage,
        "advantage_interval": _within(advantage - margin, advantage + margin),
        "low_rate": low_rate,
    }


def _within(low: float, high: float) -> list[float]:
    return [max(0.0, float(low)), min(1.0, float(high))]


def _area(members: Array, others: Array) -> tuple[float, float]:
    """Computes the area below the ROC curve, and its standard error.

    The share of others below each member is a mean's sample, and that of
    members above each other one is too (DeLong et al. 1988); ties count half.
    """
    ranks = scipy.stats.rankdata(np.concatenate([members, others]))
    n, m = len(members), len(others)
    below = (ranks[:n] - scipy.stats.rankdata(members)) / m
    above = 1 - (ranks[n:] - scipy.stats.rankdata(others)) / n
    variance = np.var(below, ddof=1) / n + np.var(above, ddof=1) / m
    return float(np.mean(below)), math.sqrt(variance)


def _learned(members: Array, others: Array, seed: int) -> tuple[Array, Array]:
    """Scores one half by a logistic regression that learned from the other.

    Folds would test on all, but then the scores are no independent sample, of
    which the intervals are.
    """
    features = np.concatenate([members, others])
    truth = np.repeat([1, 0], [len(members), len(others)])
    if not features.shape[1]:
        return np.zeros(len(members)), np.zeros(len(others))
    steps = [
        preprocessing.StandardScaler(),
        linear_model.LogisticRegression(max_iter=1000),
    ]
    if features.shape[1] > 2 * _COMPONENTS:
        steps.insert(1, decomposition.PCA(_COMPONENTS, random_state=seed))
    learn, test = model_selection.train_test_split(
        np.arange(len(truth)), test_size=0.5, stratify=truth, random_state=seed
    )
    attacker = pipeline.make_pipeline(*steps)
    attacker.fit(features[learn], truth[learn])
    scores = attacker.decision_function(features[test])
    return scores[truth[test] == 1], scores[truth[test] == 0]


def label_difference(
    members: Optional[Array], others: Optional[Array]
) -> Optional[dict[str, float]]:
    """Measures how the labels of the two sets differ.

    Args:
      members: int64 [n], members' labels, or `None`.
      others: int64 [m], the others' labels, or `None`.

    Returns:
      `None` without labels, else "distance": half the sum of differences
      between the classes' shares; "p_value": of the chi-squared test that they
      have the same shares.
    """
    if members is None or others is None:
        return None
    classes = max(members.max(), others.max()) + 1
    counts = np.stack(
        [np.bincount(each, minlength=classes) for each in (members, others)]
    )
    counts = counts[:, counts.sum(axis=0) > 0]
    shares = counts / counts.sum(axis=1, keepdims=True)
    p_value = 1.0
    if counts.shape[1] > 1:
        p_value = scipy.stats.chi2_contingency(counts)[1]
    return {
        "distance": float(np.abs(shares[0] - shares[1]).sum() / 2),
        "p_value": float(p_value),
    }


def _per_class(members: Observed, others: Observed) -> list[dict[str, Any]]:
    """Attacks by threshold within each class that has `LEAST` of either."""
    assert members.labels is not None and others.labels is not None
    rows = []
    for label in np.union1d(members.labels, others.labels):
        own = members.losses[members.labels == label]
        foreign = others.losses[others.labels == label]
        if min(len(own), len(foreign)) >= LEAST:
            rows.append({"class": int(label), **figures(-own, -foreign)})
    return rows
