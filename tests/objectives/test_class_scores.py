"""Scores of classes, against counts by hand and definitions written out."""

import warnings

import numpy as np
import pytest
from scipy import special

from tff_pipeline.objectives import class_scores

TWO = ("accuracy", "balanced_accuracy", "f1", "sensitivity", "specificity")


@pytest.fixture(autouse=True)
def no_warnings():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield


def logits_of(probabilities):
    """Logits of two classes, of the second's probabilities."""
    score = special.logit(np.array(probabilities))
    return np.stack([np.full(len(score), 3.0), 3.0 + score], axis=1)


# Of 10 examples 4 are positive. Above .5 are 3 positive ones and 2 others.
Y = np.array([1, 1, 1, 1, 0, 0, 0, 0, 0, 0])
CHANCES = [0.9, 0.8, 0.7, 0.2, 0.6, 0.55, 0.4, 0.3, 0.1, 0.05]


def test_two_classes_are_scored_as_counted_by_hand():
    scores = class_scores.class_scores(Y, logits_of(CHANCES))
    assert scores.confusion.tolist() == [[4, 2], [1, 3]]
    expected = {
        "accuracy": 7 / 10,
        "balanced_accuracy": (4 / 6 + 3 / 4) / 2,
        # 2 tp / (2 tp + fp + fn).
        "f1": 6 / (6 + 2 + 1),
        "sensitivity": 3 / 4,
        "specificity": 4 / 6,
        # Of 24 pairs, those of .2 with .6, .55, .4 and .3 are wrong.
        "auc": 20 / 24,
        # Precision where each positive one is found: 1/1, 2/2, 3/3, 4/8.
        "pr_auc": (1 + 1 + 1 + 4 / 8) / 4,
    }
    assert {
        name: value
        for name, value in scores.values.items()
        if name != "calibration_error"
    } == pytest.approx(expected)
    assert scores.precision.tolist() == pytest.approx([4 / 5, 3 / 5])
    assert scores.recall.tolist() == pytest.approx([4 / 6, 3 / 4])
    assert (scores.rows, scores.not_finite) == (10, 0)


def test_a_threshold_moves_what_is_predicted_and_no_curve():
    at = {
        threshold: class_scores.class_scores(Y, logits_of(CHANCES), threshold)
        for threshold in (0.15, 0.5, 0.65)
    }
    assert at[0.15].values["sensitivity"] == 1.0
    assert at[0.15].values["specificity"] == pytest.approx(2 / 6)
    assert at[0.65].values["sensitivity"] == 0.75
    assert at[0.65].values["specificity"] == 1.0
    assert at[0.65].values["accuracy"] == 0.9
    for name in ("auc", "pr_auc", "calibration_error"):
        assert len({each.values[name] for each in at.values()}) == 1


def test_one_logit_is_that_of_the_second_class():
    two = logits_of(CHANCES)
    one = (two[:, 1] - two[:, 0])[:, np.newaxis].astype(np.float32)
    scores = class_scores.class_scores(Y[:, np.newaxis].astype(float), one)
    expected = class_scores.class_scores(Y, two)
    assert scores.values == pytest.approx(expected.values, rel=1e-5)


def test_calibration_error_is_that_of_the_paper_in_a_loop():
    draw = np.random.default_rng(0)
    confidence = draw.uniform(1 / 3, 1, 500)
    # Ends of bins belong to the bin below them.
    confidence[:5] = np.array([5, 6, 10, 14, 15]) / 15
    right = draw.uniform(size=500) < confidence**2
    total = 0.0
    for m in range(1, 16):
        inside = (confidence > (m - 1) / 15) & (confidence <= m / 15)
        if inside.any():
            gap = abs(right[inside].mean() - confidence[inside].mean())
            total += inside.sum() / 500 * gap
    found = class_scores.calibration_error(right, confidence)
    assert found == pytest.approx(total)
    assert found > 0.05


def test_many_classes_are_each_scored_against_the_others():
    draw = np.random.default_rng(1)
    y = draw.integers(4, size=300)
    logits = draw.normal(size=[300, 4]) + 1.5 * np.eye(4)[y]
    scores = class_scores.class_scores(y, logits.astype(np.float32))
    chances = special.softmax(logits, axis=1)
    areas = []
    for each in range(4):
        mine, others = chances[y == each, each], chances[y != each, each]
        areas.append(np.mean(mine[:, np.newaxis] > others))
    assert scores.values["auc"] == pytest.approx(np.mean(areas), abs=1e-6)
    predicted = logits.argmax(axis=1)
    assert scores.values["accuracy"] == np.mean(predicted == y)
    recalls = [np.mean(predicted[y == each] == each) for each in range(4)]
    assert scores.values["balanced_accuracy"] == pytest.approx(np.mean(recalls))
    counts = [
        2
        * np.sum((y == each) & (predicted == each))
        / (np.sum(y == each) + np.sum(predicted == each))
        for each in range(4)
    ]
    assert scores.values["f1"] == pytest.approx(np.mean(counts))
    assert "sensitivity" not in scores.values


def test_a_class_that_does_not_occur_has_no_part_in_the_means():
    y = np.array([0, 0, 2, 2])
    logits = np.eye(4)[[0, 0, 2, 3]] * 2.0
    scores = class_scores.class_scores(y, logits)
    assert np.isnan(scores.recall[[1, 3]]).all()
    assert np.isnan(scores.f1[1])
    assert scores.f1[3] == 0.0  # It was predicted, wrongly.
    assert scores.values["balanced_accuracy"] == (1 + 1 / 2) / 2
    assert scores.values["f1"] == pytest.approx((1 + 2 / 3 + 0) / 3)
    # Against the others, 0 is told apart wholly, and so is 2 but for ties.
    assert scores.values["auc"] == pytest.approx((1 + 0.75) / 2)


@pytest.mark.parametrize("only", [0, 1])
def test_one_class_alone_has_no_area_under_a_curve(only):
    scores = class_scores.class_scores(np.full(10, only), logits_of(CHANCES))
    assert np.isnan([scores.values["auc"], scores.values["pr_auc"]]).all()
    names = ("sensitivity", "specificity")
    absent, there = names if only == 0 else names[::-1]
    assert np.isnan(scores.values[absent])
    assert scores.values[there] == scores.values["accuracy"]


def test_neither_occurring_nor_predicted_a_class_has_no_f1():
    low = class_scores.class_scores(np.zeros(3, int), logits_of([0.1] * 3))
    assert np.isnan(low.values["f1"])


def test_outputs_that_are_not_finite_are_counted_and_left_out():
    logits = logits_of(CHANCES)
    expected = class_scores.class_scores(Y[2:], logits[2:])
    logits[0, 1], logits[1, 0] = np.nan, np.inf
    scores = class_scores.class_scores(Y, logits)
    assert (scores.rows, scores.not_finite) == (8, 2)
    assert scores.values == pytest.approx(expected.values)
    nothing = class_scores.class_scores(Y, logits * np.nan)
    assert (nothing.rows, nothing.not_finite) == (0, 10)
    assert np.isnan(list(nothing.values.values())).all()
    assert nothing.confusion.sum() == 0


def test_a_probability_of_zero_is_one():
    logits = np.array([[0.0, -np.inf], [-np.inf, 0.0], [0.0, -np.inf]])
    scores = class_scores.class_scores(np.array([0, 1, 1]), logits)
    assert scores.not_finite == 0
    assert scores.values["auc"] == 0.75


def test_probabilities_that_float32_cannot_tell_apart_are_ranked():
    # Those of the second class are all 1 in float32.
    logits = np.array([[0.0, 20.0, 0], [0, 25, 0], [0, 22, 0]], np.float32)
    y = np.array([0, 1, 0])
    for outputs in (logits, logits[:, :2]):
        scores = class_scores.class_scores(y, outputs)
        assert (scores.values["auc"], scores.values["pr_auc"]) == (1.0, 1.0)


@pytest.mark.parametrize(
    "y", [[0, 0, 0, 1], [1, 1, 0, 1], [2, 0, 2, 2], [2, 2]]
)
def test_the_constant_answer_is_the_most_frequent_class(y):
    y = np.array(y)
    count = 3 if 2 in y else 2
    logits = class_scores.constant_logits(y, count)
    scores = class_scores.class_scores(y, logits)
    most = np.bincount(y).max() / len(y)
    assert scores.values["accuracy"] == most
    assert scores.values["calibration_error"] == pytest.approx(0, abs=1e-9)
    occurring = np.unique(y)
    assert scores.values["balanced_accuracy"] == 1 / len(occurring)
    if len(occurring) > 1:
        assert scores.values["auc"] == 0.5
        loss = special.logsumexp(logits, axis=1) - logits[range(len(y)), y]
        shares = np.bincount(y)[occurring] / len(y)
        assert loss.mean() == pytest.approx(-np.sum(shares * np.log(shares)))


def test_balanced_accuracy_of_every_round_is_that_of_the_report():
    logits = logits_of(CHANCES)
    expected = class_scores.class_scores(Y, logits).values["balanced_accuracy"]
    assert class_scores.balanced_accuracy(Y, logits) == pytest.approx(expected)
    logits[3] = np.nan
    assert np.isnan(class_scores.balanced_accuracy(Y, logits))
