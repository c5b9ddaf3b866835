"""Cox's loss and the concordance index, against sums over all patients."""

import itertools

import numpy as np
import pytest
import tensorflow as tf

from tff_pipeline.objectives import survival


def survivors(seed, count=12):
    """Random (y, scores), with ties among times and among scores."""
    draw = np.random.default_rng(seed)
    y = np.stack([draw.integers(2, size=count), draw.integers(6, size=count)])
    scores = draw.integers(-3, 4, size=[count, 1])
    return y.T.astype(np.float32), scores.astype(np.float32)


@pytest.mark.parametrize("seed", range(5))
def test_cox_loss_is_the_partial_likelihood(seed):
    y, scores = survivors(seed)
    terms = [
        event * (np.log(np.exp(scores[y[:, 1] >= time]).sum()) - score[0])
        for (event, time), score in zip(y, scores)
    ]
    loss = survival.CoxLoss()(y, scores)
    np.testing.assert_allclose(loss, np.mean(terms), rtol=1e-5)


@pytest.mark.parametrize("scale", [0.0, 1.0, 1e4])
def test_cox_loss_has_a_finite_gradient(scale):
    y, scores = survivors(0)
    scores = tf.constant(scores * scale)
    with tf.GradientTape() as tape:
        tape.watch(scores)
        loss = survival.CoxLoss()(y, scores)
    assert np.isfinite(loss)
    assert np.isfinite(tape.gradient(loss, scores)).all()


def test_cox_loss_without_a_death_is_zero():
    y, scores = survivors(0)
    y[:, 0] = 0
    scores = tf.constant(scores)
    with tf.GradientTape() as tape:
        tape.watch(scores)
        loss = survival.CoxLoss()(y, scores)
    assert loss == 0
    np.testing.assert_array_equal(tape.gradient(loss, scores), 0 * scores)


@pytest.mark.parametrize("seed", range(5))
def test_concordance_is_that_of_all_pairs(seed):
    y, scores = survivors(seed)
    right, pairs = 0.0, 0
    for one, other in itertools.permutations(range(len(y)), 2):
        died, day = y[one]
        also, later = y[other]
        if died and (later > day or (later == day and not also)):
            pairs += 1
            right += (scores[one] > scores[other]).item()
            right += 0.5 * (scores[one] == scores[other]).item()
    given = survival.concordance_index(y, scores)
    assert given == pytest.approx(right / pairs)


def test_concordance_of_known_orders():
    y = np.array([[1, 1], [1, 2], [0, 3]])
    best = np.array([[3.0], [2.0], [1.0]])
    assert survival.concordance_index(y, best) == 1
    assert survival.concordance_index(y, -best) == 0
    assert survival.concordance_index(y, 0 * best) == 0.5
    y[:, 0] = 0
    assert survival.concordance_index(y, best) == 0.5
