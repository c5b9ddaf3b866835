"""A block is data and a key: all is drawn from the key, and nothing else."""

import collections
import itertools

import numpy as np
import pytest
import tensorflow as tf
from scipy import stats

from tests.testing.blocks import drawn_block, in_file_order, orders_of
from tff_pipeline.client_work.block import (
    client_block,
    client_key,
    data_key,
    epoch_orders,
)
from tff_pipeline.datasets.federation.federated_data import Examples

# All draws below have fixed keys: a test gives the same figure every time.
SURE = 1e-6


def orders(keys, epochs, count):
    """The orders of many clients, [keys, epochs, count]."""

    @tf.function
    def draw(key):
        return epoch_orders(key, tf.constant(epochs), tf.constant(count))

    return np.stack([draw(tf.constant(k, tf.int64)).numpy() for k in keys])


@pytest.fixture(scope="module")
def small():
    """Two epochs of four examples, of 4,800 clients."""
    keys = [client_key(0, r, c) for r in range(1, 49) for c in range(100)]
    return orders(keys, 2, 4)


@pytest.mark.parametrize("count", [1, 2, 7, 600])
def test_every_epoch_has_every_example_once(count):
    for order in orders([3], 3, count)[0]:
        np.testing.assert_array_equal(np.sort(order), np.arange(count))


def test_all_orders_are_equally_likely(small):
    for epoch in (0, 1):
        seen = collections.Counter(map(tuple, small[:, epoch]))
        assert set(seen) == set(itertools.permutations(range(4)))
        assert stats.chisquare(list(seen.values())).pvalue > SURE


def test_the_orders_of_two_epochs_are_independent(small):
    table = np.zeros([4, 4])
    np.add.at(table, (small[:, 0, 0], small[:, 1, 0]), 1)
    assert stats.chi2_contingency(table)[1] > SURE


def test_the_orders_of_neighbouring_clients_and_rounds_are_independent(small):
    for apart in (1, 100):
        table = np.zeros([4, 4])
        np.add.at(table, (small[:-apart, 0, 0], small[apart:, 0, 0]), 1)
        assert stats.chi2_contingency(table)[1] > SURE


def test_every_place_of_many_is_as_likely_first():
    first = orders(range(6000), 1, 60)[:, 0, 0]
    assert stats.chisquare(np.bincount(first, minlength=60)).pvalue > SURE


def test_a_session_and_eager_execution_draw_the_same():
    key, two, nine = tf.constant(5, tf.int64), tf.constant(2), tf.constant(9)
    eager = epoch_orders(key, two, nine).numpy()
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        there = epoch_orders(
            tf.constant(5, tf.int64), tf.constant(2), tf.constant(9)
        )
        np.testing.assert_array_equal(session.run(there), eager)


def test_keys_are_functions_of_seed_round_and_client():
    assert client_key(1, 2, 3) == client_key(1, 2, 3)
    keys = {
        client_key(seed, number, client)
        for seed in range(3)
        for number in range(1, 4)
        for client in range(3)
    }
    assert len(keys) == 27
    assert all(0 <= key < 2**62 for key in keys)


def test_what_changes_data_is_not_drawn_as_their_order_is():
    key = tf.constant(7, tf.int64)
    seed = data_key(key)
    bits = tf.random.stateless_uniform(
        [1, 9], seed, minval=None, maxval=None, dtype=tf.int64
    )
    order = epoch_orders(key, tf.constant(1), tf.constant(9))
    assert (tf.argsort(bits, axis=-1).numpy() != order.numpy()).any()


def test_a_block_has_data_a_key_and_what_its_round_is_told():
    examples = Examples(np.zeros([3, 2], np.float32), np.zeros(3, np.int32))
    (block,) = client_block(examples, 5, 2, rate=0.5, steps=4)
    assert list(block) == ["x", "y", "key", "round", "rate", "steps"]
    assert block["key"].dtype == np.int64 and block["rate"] == 0.5
    assert block["round"] == 2 and block["steps"] == 4


def test_examples_can_lie_where_the_drawn_order_looks_for_them():
    examples = Examples(np.arange(9.0)[:, np.newaxis], np.arange(9))
    block = in_file_order(examples, client=3)
    taken = block[0]["y"][orders_of(block, 1)[0]]
    np.testing.assert_array_equal(taken, np.arange(9))
    assert block[0]["key"] == drawn_block(examples, client=3)[0]["key"]
