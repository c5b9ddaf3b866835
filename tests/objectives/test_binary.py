"""Figures of two classes, against all pairs and the published costs."""

import numpy as np
import pytest
import tensorflow as tf

from tff_pipeline.objectives import binary


def test_german_cost_is_that_of_the_published_matrix():
    y = np.array([1, 1, 0, 0])
    # Accepted, refused, accepted, refused: 5 + 0 + 0 + 1.
    logits = np.array([[9.0, 0], [0, 0], [9, 0], [0, 0]])
    assert binary.german_credit_cost(y, logits) == 6 / 4


def test_area_under_curve_is_that_of_all_pairs():
    draw = np.random.default_rng(0)
    y = np.array([0, 1] * 6)
    logits = draw.integers(3, size=[12, 2]).astype(np.float32)
    score = logits[:, 1] - logits[:, 0]
    pairs = score[y == 1][:, np.newaxis] - score[y == 0]
    expected = np.mean((pairs > 0) + 0.5 * (pairs == 0))
    given = binary.area_under_curve(y, logits)
    assert given == pytest.approx(expected)
    # It is not defined of one class; one half would be a figure.
    for one in (y * 0, y * 0 + 1):
        assert np.isnan(binary.area_under_curve(one, logits))
    logits[0] = np.nan
    assert np.isnan(binary.area_under_curve(y, logits))


def test_a_logit_is_scored_as_its_probability():
    y, logits = np.array([[1.0], [0], [1]]), np.array([[2.0], [-1], [-3]])
    chances = 1 / (1 + np.exp(-logits))
    expected = -np.mean(y * np.log(chances) + (1 - y) * np.log(1 - chances))
    assert float(binary.logit_cross_entropy()(y, logits)) == pytest.approx(
        expected, rel=1e-5
    )
    accuracy = binary.logit_accuracy()
    accuracy.update_state(y, tf.constant(logits))
    assert accuracy.name == "accuracy"
    assert float(accuracy.result()) == pytest.approx(2 / 3)
