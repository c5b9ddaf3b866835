"""Muon against its formulas in NumPy, and in rounds of federated averaging."""

import numpy as np
import pytest
import tensorflow as tf

from tests.testing import small_training
from tff_pipeline import errors
from tff_pipeline.algorithms import fed_avg
from tff_pipeline.config import ClientConfig, OptimizerConfig, ServerConfig
from tff_pipeline.optimizers import rates
from tff_pipeline.optimizers.build import build_optimizer
from tff_pipeline.optimizers.muon import Muon, matrix_update, orthogonalize
from tff_pipeline.runtime.in_process import InProcessContext

RATE, MOMENTUM, BETA_1, BETA_2, EPSILON, FACTOR = (
    0.02,
    0.95,
    0.8,
    0.95,
    1e-8,
    0.15,
)
# An embedding, a bias, matrices of all forms, a kernel of a convolution.
SHAPES = ([10, 4], [4], [4, 4], [12, 4], [8, 4], [4, 8], [3, 3, 2, 2])
ADAMS = (0, 1, 6)


def drawn(seed, shapes=SHAPES):
    draw = np.random.default_rng(seed)
    return [draw.normal(size=shape).astype(np.float32) for shape in shapes]


def muon(first=1, last=0, rate=RATE):
    return Muon(rate, MOMENTUM, BETA_1, BETA_2, EPSILON, FACTOR, first, last)


def specs(shapes=SHAPES):
    return [tf.TensorSpec(shape) for shape in shapes]


def newton_schulz(matrix):
    """The paper's listing, in float64."""
    x = np.float64(matrix)
    if matrix.shape[0] > matrix.shape[1]:
        x = x.T
    x = x / (np.linalg.norm(x) + 1e-7)
    for _ in range(5):
        a = x @ x.T
        b = -4.7750 * a + 2.0315 * a @ a
        x = 3.4445 * x + b @ x
    return x.T if matrix.shape[0] > matrix.shape[1] else x


def by_hand(weights, gradients, adams=ADAMS):
    """The weights after a step for each of `gradients`."""
    weights = [np.float64(w) for w in weights]
    first = [np.zeros_like(w) for w in weights]
    second = [np.zeros_like(w) for w in weights]
    for step, slopes in enumerate(gradients, 1):
        for n, g in enumerate(map(np.float64, slopes)):
            if n in adams:
                first[n] = BETA_1 * first[n] + (1 - BETA_1) * g
                second[n] = BETA_2 * second[n] + (1 - BETA_2) * g**2
                m = first[n] / (1 - BETA_1**step)
                v = second[n] / (1 - BETA_2**step)
                update = FACTOR * m / (np.sqrt(v) + EPSILON)
            else:
                first[n] = MOMENTUM * first[n] + g
                ahead = g + MOMENTUM * first[n]
                rows, columns = ahead.shape
                if rows == 3 * columns:
                    parts = [newton_schulz(p) for p in np.split(ahead, 3)]
                    update = np.concatenate(parts)
                else:
                    update = newton_schulz(ahead)
                    update *= max(1, rows / columns) ** 0.5
            weights[n] = weights[n] - RATE * update
    return weights


@pytest.mark.parametrize("steps", [1, 3])
def test_steps_are_those_of_the_paper(steps):
    start, optimizer = drawn(0), muon()
    gradients = [drawn(seed) for seed in range(1, steps + 1)]
    state, weights = optimizer.initialize(specs()), start
    for slopes in gradients:
        state, weights = optimizer.next(state, weights, slopes)
    for ours, expected, before in zip(
        weights, by_hand(start, gradients), start
    ):
        np.testing.assert_allclose(ours, expected, rtol=1e-4, atol=1e-5)
        assert np.abs(ours - before).max() > 1e-3


@pytest.mark.parametrize("shape", [[32, 32], [64, 16], [16, 64], [1, 9]])
def test_an_update_has_singular_values_near_one(shape):
    matrix = drawn(3, [shape])[0]
    u, values, v = np.linalg.svd(matrix, full_matrices=False)
    values = values / np.linalg.norm(values)
    for _ in range(5):
        values = 3.4445 * values - 4.7750 * values**3 + 2.0315 * values**5
    assert values.min() > 0.68
    assert values.max() < 1.21
    np.testing.assert_allclose(
        orthogonalize(tf.constant(matrix)), u * values @ v, atol=2e-4
    )


def test_the_length_of_a_matrix_is_nothing_to_its_update():
    matrix = drawn(3, [[6, 5]])[0]
    np.testing.assert_allclose(
        orthogonalize(1e-3 * matrix), orthogonalize(matrix), atol=1e-3
    )
    np.testing.assert_array_equal(orthogonalize(0 * matrix), 0 * matrix)


def test_tall_matrices_take_longer_steps():
    tall = drawn(4, [[16, 4]])[0]
    np.testing.assert_allclose(
        matrix_update(tf.constant(tall)), 2 * orthogonalize(tall), rtol=1e-5
    )
    np.testing.assert_allclose(
        matrix_update(tf.constant(tall.T)), orthogonalize(tall.T), rtol=1e-5
    )


def test_queries_keys_and_values_in_one_matrix_are_three():
    parts = drawn(5, [[4, 4]] * 3)
    fused = matrix_update(tf.constant(np.concatenate(parts))).numpy()
    for part, update in zip(parts, np.split(fused, 3)):
        np.testing.assert_allclose(update, orthogonalize(part), rtol=1e-5)


@pytest.mark.parametrize(
    ("first", "last", "adams"),
    [
        (0, 0, {1, 6}),
        (2, 0, {0, 1, 2, 6}),
        (1, 1, {0, 1, 5, 6}),
        (9, 9, set(range(7))),
        (0, 9, set(range(7))),
    ],
)
def test_adam_has_the_first_and_last_matrices_and_all_other_forms(
    first, last, adams
):
    start, slopes = drawn(0), drawn(1)
    optimizer = muon(first, last)
    state = optimizer.initialize(specs())
    assert len(state["square"]) == len(adams)
    _, weights = optimizer.next(state, start, slopes)
    for ours, expected in zip(weights, by_hand(start, [slopes], adams)):
        np.testing.assert_allclose(ours, expected, rtol=1e-4, atol=1e-5)


def test_slices_of_an_embedding_are_gradients_too():
    optimizer, start = muon(), tf.ones([3, 2])
    state = optimizer.initialize(tf.TensorSpec([3, 2]))
    slices = tf.IndexedSlices(tf.ones([1, 2]), [1], [3, 2])
    _, sparse = optimizer.next(state, start, slices)
    dense = tf.constant([[0.0, 0.0], [1.0, 1.0], [0.0, 0.0]])
    _, expected = optimizer.next(state, start, dense)
    np.testing.assert_array_equal(sparse, expected)
    assert (sparse.numpy() != 1).sum() == 2


def test_a_rate_of_a_round_moves_both_parts():
    optimizer, start, slopes = muon(), drawn(0), drawn(1)
    state = optimizer.initialize(specs())
    _, full = optimizer.next(state, start, slopes)
    halved = rates.with_rate(optimizer, state, RATE / 2)
    _, half = optimizer.next(halved, start, slopes)
    for one, other, before in zip(half, full, start):
        np.testing.assert_allclose(
            one - before, (other - before) / 2, rtol=1e-3, atol=1e-6
        )


def test_flags_reach_the_optimizer():
    options = OptimizerConfig("client", "muon", RATE)
    assert (options.momentum, options.beta_1, options.beta_2) == (
        MOMENTUM,
        BETA_1,
        BETA_2,
    )
    assert (options.adam_factor, options.adam_first, options.adam_last) == (
        FACTOR,
        1,
        0,
    )
    built, by_default = build_optimizer(options), muon()
    assert vars(built) == vars(by_default)
    with pytest.raises(errors.ConfigError, match="one that uses it: muon"):
        OptimizerConfig("client", "adam", adam_first=1)
    with pytest.raises(errors.ConfigError, match="--client_muon_adam_last=-1"):
        OptimizerConfig("client", "muon", adam_last=-1)


@pytest.mark.parametrize("side", ["client", "server"])
@pytest.mark.parametrize("first", [0, 1])
def test_federated_averaging_learns_with_it(side, first):
    task = small_training.task_of(small_training.dense)
    rate = {"client": 0.05, "server": 0.2}[side]
    of_muon = OptimizerConfig(side, "muon", rate, adam_first=first)
    sgd = OptimizerConfig("client", "sgd", 0.1)
    clients = ClientConfig(
        batch_size=4,
        epochs_per_round=2,
        optimizer=of_muon if side == "client" else sgd,
    )
    server = ServerConfig(of_muon) if side == "server" else ServerConfig()
    process = fed_avg.build(task.tff_model_fn, clients, server)
    losses = []
    with InProcessContext():
        state = process.set_model_weights(
            process.initialize(), small_training.start(task)
        )
        for number in range(12):
            output = process.next(state, small_training.blocks(task, number))
            state = output.state
            losses.append(output.metrics["client_work"]["train"]["loss"])
    # Labels are drawn, so that there is little but the examples to learn.
    assert losses[-1] < 0.9 * losses[0]


def test_stacked_matrices_are_orthogonalized_one_by_one():
    # As a transformer has them: an embedding, stacked scales, stacked matrices.
    shapes = [[10, 4], [3, 4], [3, 8, 4]]
    weights, slopes = drawn(1, shapes), drawn(2, shapes)
    optimizer = muon()
    state = optimizer.initialize(specs(shapes))
    _, after = optimizer.next(state, weights, slopes)
    for block in range(3):
        alone = matrix_update((1 + MOMENTUM) * slopes[2][block])
        np.testing.assert_allclose(
            after[2][block],
            weights[2][block] - RATE * alone.numpy(),
            rtol=1e-5,
            atol=1e-6,
        )
    # Adam's first step is as long for each number.
    for place in (0, 1):
        np.testing.assert_allclose(
            np.abs(after[place] - weights[place]), RATE * FACTOR, rtol=1e-3
        )
