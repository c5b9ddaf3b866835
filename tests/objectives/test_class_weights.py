"""Weights of classes in the loss, against Keras's own and sums by hand."""

import numpy as np
import pytest
import tensorflow as tf
from sklearn.utils import class_weight

from tff_pipeline.objectives import binary
from tff_pipeline.objectives.class_weights import ClassWeightedLoss, balanced


def cross_entropy():
    return tf.keras.losses.SparseCategoricalCrossentropy(from_logits=True)


def test_a_batchs_loss_is_the_weighted_sum_over_its_examples():
    logits = np.log([[0.5, 0.5], [0.2, 0.8], [0.75, 0.25]]).astype(np.float32)
    loss = ClassWeightedLoss(cross_entropy(), [1.0, 3.0])
    # Divided by 3 examples, not by the weights' sum of 5.
    expected = (-np.log(0.5) * 1 - np.log(0.8) * 3 - np.log(0.75) * 1) / 3
    given = loss(tf.constant([0, 1, 0]), tf.constant(logits))
    assert float(given) == pytest.approx(expected, rel=1e-6)


def test_one_logit_is_weighed_by_its_class_too():
    logits = np.array([[1.0], [-2.0]], np.float32)
    chances = 1 / (1 + np.exp(-logits[:, 0]))
    loss = ClassWeightedLoss(binary.logit_cross_entropy(), [2.0, 5.0])
    expected = (-5 * np.log(chances[0]) - 2 * np.log(1 - chances[1])) / 2
    given = loss(tf.constant([[1.0], [0.0]]), tf.constant(logits))
    assert float(given) == pytest.approx(expected, rel=1e-6)


def test_a_step_is_that_of_class_weight_in_keras_fit():
    draw = np.random.default_rng(0)
    x = draw.normal(size=[32, 4]).astype(np.float32)
    y = draw.integers(3, size=32)
    weights = [0.5, 4.0, 1.5]

    def trained(loss, **options):
        tf.keras.utils.set_random_seed(1)
        model = tf.keras.Sequential([tf.keras.layers.Dense(3)])
        model.compile(tf.keras.optimizers.SGD(0.5), loss)
        model.fit(x, y, batch_size=8, shuffle=False, verbose=0, **options)
        return model.get_weights()

    ours = trained(ClassWeightedLoss(cross_entropy(), weights))
    theirs = trained(cross_entropy(), class_weight=dict(enumerate(weights)))
    for a, b in zip(ours, theirs):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)


def test_clients_losses_weighted_by_examples_are_that_of_all_together():
    draw = np.random.default_rng(2)
    logits = draw.normal(size=[30, 2]).astype(np.float32)
    y = (draw.uniform(size=30) < 0.2).astype(np.int32)
    loss = ClassWeightedLoss(cross_entropy(), [1.0, 6.0])
    parts = [slice(0, 3), slice(3, 10), slice(10, 30)]
    mean = sum(
        len(y[part]) * float(loss(tf.constant(y[part]), logits[part]))
        for part in parts
    )
    whole = float(loss(tf.constant(y), tf.constant(logits)))
    assert mean / 30 == pytest.approx(whole, rel=1e-5)


def test_balanced_weights_are_those_of_scikit_learn():
    # 20 / (3 * 12), 20 / (3 * 3) and 20 / (3 * 5).
    y = np.repeat([0, 1, 2], [12, 3, 5])
    counts = np.bincount(y)
    expected = class_weight.compute_class_weight(
        "balanced", classes=np.arange(3), y=y
    )
    assert balanced(counts) == pytest.approx(expected)
    assert balanced(counts) == pytest.approx([20 / 36, 20 / 9, 20 / 15])
    assert np.mean(np.array(balanced(counts))[y]) == pytest.approx(1.0)
    # A class that does not occur changes nothing.
    assert balanced(np.insert(counts, 1, 0))[0] == balanced(counts)[0]
