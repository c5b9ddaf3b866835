"""Loss and accuracy of tokens, without padding, by hand."""

import math

import numpy as np
import pytest
import tensorflow as tf

from tff_pipeline.objectives import sequence


def test_padding_counts_neither_in_loss_nor_in_accuracy():
    logits = np.random.default_rng(0).normal(size=(2, 3, 4)).astype(np.float32)
    targets = np.array([[1, 2, 0], [3, 0, 0]], np.int32)
    chances = np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)
    kept = [(0, 0, 1), (0, 1, 2), (1, 0, 3)]
    expected = -np.mean([np.log(chances[place]) for place in kept])
    loss = sequence.TokenCrossEntropy()(targets, logits)
    assert float(loss) == pytest.approx(expected, rel=1e-5)
    hits = [logits[row, step].argmax() == label for row, step, label in kept]
    accuracy = sequence.TokenAccuracy()
    accuracy.update_state(targets, logits)
    assert float(accuracy.result()) == pytest.approx(np.mean(hits))
    without = sequence.TokenAccuracy("other", left_out=(0, 1))
    without = sequence.TokenAccuracy.from_config(without.get_config())
    without.update_state(targets, logits)
    assert float(without.result()) == pytest.approx(np.mean(hits[1:]))


def test_loss_leaves_padding_out_in_graphs_as_tff_makes_them():
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        loss = sequence.TokenCrossEntropy()(
            tf.constant([[1, 0]]), tf.constant([[[0.0, 0.0], [9.0, 0.0]]])
        )
        assert session.run(loss) == pytest.approx(math.log(2))
