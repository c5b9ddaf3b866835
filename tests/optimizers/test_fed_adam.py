"""FedAdam, FedYogi and FedAdagrad take the steps of their paper."""

import numpy as np
import tensorflow as tf

from tff_pipeline.optimizers.fed_adam import FedAdagrad, FedAdam, FedYogi


def test_fedadam_is_algorithm_2_of_reddi():
    rate, beta_1, beta_2, tau = 0.1, 0.9, 0.99, 1e-2
    optimizer = FedAdam(rate, beta_1, beta_2, tau)
    draw = np.random.default_rng(0)
    weights = draw.normal(size=[3]).astype(np.float32)
    changed = (tf.constant(weights),)
    state = optimizer.initialize((tf.TensorSpec([3], tf.float32),))
    m, v = np.zeros(3), np.full(3, tau**2)
    for _ in range(4):
        gradient = draw.normal(size=[3]).astype(np.float32)
        state, changed = optimizer.next(
            state, changed, (tf.constant(gradient),)
        )
        m = beta_1 * m + (1 - beta_1) * gradient
        v = beta_2 * v + (1 - beta_2) * gradient**2
        weights = weights - rate * m / (np.sqrt(v) + tau)
        np.testing.assert_allclose(changed[0], weights, rtol=1e-5)


def test_fedyogi_is_algorithm_2_of_reddi():
    rate, beta_1, beta_2, tau = 0.1, 0.9, 0.99, 1e-2
    optimizer = FedYogi(rate, beta_1, beta_2, tau)
    weights = np.float32([1.0, -2.0])
    changed, state = (
        tf.constant(weights),
        optimizer.initialize(tf.TensorSpec([2], tf.float32)),
    )
    m, v = np.zeros(2), np.full(2, tau**2)
    # The second is far below what was before it, so that v goes down.
    for gradient in ([0.5, -2.0], [1e-3, 1e-2], [0.1, 3.0]):
        gradient = np.float32(gradient)
        state, changed = optimizer.next(state, changed, tf.constant(gradient))
        m = beta_1 * m + (1 - beta_1) * gradient
        square = gradient.astype(float) ** 2
        v = v - (1 - beta_2) * square * np.sign(v - square)
        weights = weights - rate * m / (np.sqrt(v) + tau)
        np.testing.assert_allclose(changed, weights, rtol=1e-5)


def test_fedadagrad_is_algorithm_2_of_reddi():
    """By hand, with tau 1: v is 1, 1 + 4, 1 + 4 + 9."""
    optimizer = FedAdagrad(0.1, 0.5, 1.0)
    state = optimizer.initialize(tf.TensorSpec([], tf.float32))
    state, weight = optimizer.next(state, tf.constant(0.0), tf.constant(2.0))
    # m = 1.
    assert weight.numpy() == np.float32(-0.1 / (np.sqrt(5) + 1))
    _, second = optimizer.next(state, weight, tf.constant(3.0))
    # m = 0.5 * 1 + 0.5 * 3 = 2.
    step = (second - weight).numpy()
    np.testing.assert_allclose(step, -0.2 / (np.sqrt(14) + 1), rtol=1e-6)


def test_slices_of_an_embedding_are_gradients_too():
    optimizer = FedAdam(0.1, 0.9, 0.99, 1e-2)
    state = optimizer.initialize(tf.TensorSpec([3, 2]))
    weights = tf.ones([3, 2])
    slices = tf.IndexedSlices(tf.ones([1, 2]), [1], [3, 2])
    _, sparse = optimizer.next(state, weights, slices)
    dense = tf.constant([[0.0, 0.0], [1.0, 1.0], [0.0, 0.0]])
    _, expected = optimizer.next(state, weights, dense)
    np.testing.assert_array_equal(sparse, expected)
    assert (sparse.numpy() != 1).sum() == 2
