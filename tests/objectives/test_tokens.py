"""Figures over tokens do not depend on how texts are cut into batches."""

import math

import numpy as np
import pytest
import tensorflow as tf

from tff_pipeline.objectives import tokens

METRICS = [
    tokens.NextTokenAccuracy,
    tokens.BitsPerCharacter,
    tokens.Perplexity,
]


@pytest.fixture(scope="module")
def drawn():
    draw = np.random.default_rng(4)
    scores = np.stack(
        [draw.exponential(3, [12, 5]), draw.integers(0, 2, [12, 5])], axis=-1
    )
    weights = draw.integers(0, 2, [12, 5])
    # A text of which nothing counts, and one of which all does.
    weights[3], weights[4] = 0, 1
    labels = np.stack([weights, weights * draw.integers(0, 4, [12, 5])], -1)
    return labels.astype(np.float32), scores.astype(np.float32)


def expected(labels, scores):
    weights = labels[..., 0]
    nats = (scores[..., 0] * weights).sum()
    return {
        "accuracy": (scores[..., 1] * weights).sum() / weights.sum(),
        "bits_per_character": nats / math.log(2) / labels[..., 1].sum(),
        "perplexity": math.exp(nats / weights.sum()),
    }


@pytest.mark.parametrize("cuts", [[12], [1] * 12, [3, 1, 8], [4, 4, 4]])
@pytest.mark.parametrize("metric_fn", METRICS)
def test_metrics_are_quotients_of_sums(drawn, metric_fn, cuts):
    labels, scores = drawn
    metric, start = metric_fn(), 0
    for size in cuts:
        batch = slice(start, start + size)
        metric.update_state(labels[batch], scores[batch])
        start += size
    assert float(metric.result()) == pytest.approx(
        expected(labels, scores)[metric.name], rel=1e-5
    )
    metric.reset_state()
    assert float(metric.result()) in (0.0, 1.0)


def test_means_of_batches_weighed_by_their_terms_are_the_whole_mean(drawn):
    labels, scores = drawn
    loss = tokens.TokenNats()
    whole = float(loss(labels, scores))
    parts = [slice(0, 5), slice(5, 6), slice(6, 12)]
    means = [float(loss(labels[p], scores[p])) for p in parts]
    terms = [float(loss.terms(labels[p])) for p in parts]
    assert np.average(means, weights=terms) == pytest.approx(whole, rel=1e-6)
    # Which the mean of means is not.
    assert np.mean(means) != pytest.approx(whole, rel=1e-3)


def test_a_batch_of_which_nothing_counts_has_no_loss(drawn):
    labels, scores = drawn
    loss = tokens.TokenNats()
    assert float(loss(labels[3:4], scores[3:4])) == 0
    with tf.GradientTape() as tape:
        watched = tf.constant(scores[3:4])
        tape.watch(watched)
        value = loss(labels[3:4], watched)
    assert not tape.gradient(value, watched).numpy().any()
