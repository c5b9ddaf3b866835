"""TFF's secure sums by a protocol have the bits of plain sums."""

import collections

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_federated as tff

from tff_pipeline.runtime.in_process import InProcessContext
from tff_pipeline.secure_sum.bonawitz import Bonawitz, Stage
from tff_pipeline.secure_sum.refusals import (
    ModulusError,
    SecureSumError,
    TooFewClientsError,
)

modular_sum = tff.backends.mapreduce.federated_secure_modular_sum

PAIR = tff.to_type(
    collections.OrderedDict(
        a=tff.TensorType(np.int32, [3]), b=tff.TensorType(np.int64)
    )
)
VALUES = [
    collections.OrderedDict(a=np.array([i, 2 * i, 7], np.int32), b=i**3)
    for i in range(11)
]


@tff.federated_computation(
    tff.FederatedType(PAIR, tff.CLIENTS),
    tff.FederatedType(tff.TensorType(np.int32), tff.CLIENTS),
)
def every_kind(pair, number):
    return (
        tff.federated_secure_sum(pair, collections.OrderedDict(a=20, b=10**4)),
        tff.federated_secure_sum(pair, 10**4),
        tff.federated_secure_sum_bitwidth(
            pair, collections.OrderedDict(a=5, b=40)
        ),
        modular_sum(pair, 16),
        modular_sum(pair, collections.OrderedDict(a=2**30, b=2)),
        tff.federated_sum(number),
        tff.federated_secure_sum(number, 2**31 - 1),
    )


@tff.federated_computation(
    tff.FederatedType(tff.TensorType(np.int32), tff.CLIENTS)
)
def small_sum(number):
    return tff.federated_secure_sum(number, 100)


def flat(result):
    return [np.asarray(each).tolist() for each in tf.nest.flatten(result)]


class Counted(Bonawitz):
    """The protocol, which counts its runs."""

    runs = 0

    def begin(self, *args):
        self.runs += 1
        return super().begin(*args)


@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize("neighbours", [None, 4])
def test_every_secure_sum_is_the_plain_one(threads, neighbours):
    # The last sums overflow int32, and wrap around as plain ones do.
    numbers = [2**31 - 1 - i for i in range(11)]
    with InProcessContext():
        plain = every_kind(VALUES, numbers)
        assert plain[3]["a"].tolist() == [55 % 16, 110 % 16, 77 % 16]
    protocol = Counted(neighbours)
    with InProcessContext(threads, 3, secure_sum=protocol):
        secure = every_kind(VALUES, numbers)
    assert flat(secure) == flat(plain)
    types = [
        [np.asarray(each).dtype for each in tf.nest.flatten(result)]
        for result in (secure, plain)
    ]
    assert types[0] == types[1]
    assert protocol.runs == 1  # One vector for all of them.


def test_who_drops_out_while_the_protocol_runs_is_not_in_the_sum():
    leaves = {
        1: Stage.KEYS,
        4: Stage.SHARES,
        5: Stage.MASKED,
        9: Stage.UNMASKING,
    }
    protocol = Bonawitz(drop_out=lambda _, client: leaves.get(client))
    with InProcessContext(secure_sum=protocol):
        assert small_sum(list(range(10))) == 45 - 1 - 4 - 5


def test_below_the_threshold_the_computation_fails():
    protocol = Bonawitz(drop_out=lambda _, c: Stage.MASKED if c < 5 else None)
    with InProcessContext(secure_sum=protocol):
        with pytest.raises(TooFewClientsError, match="5 of 10 clients"):
            small_sum([1] * 10)
        # The next computation has nothing of it.
        protocol._drop_out = lambda *_: None
        assert small_sum([1] * 10) == 10


def test_one_client_is_too_few_and_none_are_zeros():
    with InProcessContext(secure_sum=Bonawitz()):
        with pytest.raises(TooFewClientsError, match="a secure sum of one"):
            small_sum([1])
        assert small_sum([]) == 0


@pytest.mark.parametrize("value", [-1, 101])
def test_a_value_out_of_range_is_refused(value):
    with (
        InProcessContext(secure_sum=Bonawitz()),
        pytest.raises(SecureSumError, match="from 0 to 100"),
    ):
        small_sum([1, value, 1])


def test_a_sum_that_needs_more_bits_than_there_are_is_refused():
    @tff.federated_computation(
        tff.FederatedType(tff.TensorType(np.int64), tff.CLIENTS)
    )
    def large(number):
        return tff.federated_secure_sum_bitwidth(number, 62)

    with InProcessContext(secure_sum=Bonawitz()):
        assert large([2**61] * 3) == 3 * 2**61
        with pytest.raises(ModulusError, match="65 bits"):
            large([0] * 8)


def test_moduli_that_are_no_powers_of_two_are_refused():
    @tff.federated_computation(
        tff.FederatedType(tff.TensorType(np.int32), tff.CLIENTS)
    )
    def modular(number):
        return modular_sum(number, 10)

    with InProcessContext():
        assert modular([7, 8, -1]) == 4
    with (
        InProcessContext(secure_sum=Bonawitz()),
        pytest.raises(ModulusError, match=r"10; .* power of two"),
    ):
        modular([7, 8])


def test_sums_that_need_each_other_are_runs_of_their_own():
    @tff.tensorflow.computation(np.int32, np.int32)
    def above(number, total):
        return tf.cast(2 * number > total // 3, tf.int32)

    @tff.federated_computation(
        tff.FederatedType(tff.TensorType(np.int32), tff.CLIENTS)
    )
    def count(number):
        total = tff.federated_broadcast(tff.federated_secure_sum(number, 100))
        return tff.federated_secure_sum(
            tff.federated_map(above, (number, total)), 1
        )

    protocol = Counted()
    with InProcessContext(secure_sum=protocol):
        assert count([1, 2, 30]) == 1
    assert protocol.runs == 2


def test_tffs_own_secure_aggregators_have_the_same_bits():
    """Its quantised mean and its adaptive bounds are made of such sums."""
    factory = tff.learning.secure_aggregator()
    kind = tff.TensorType(np.float32, [20])
    process = factory.create(kind, tff.TensorType(np.float32))
    generator = np.random.default_rng(0)
    updates = [generator.normal(size=20).astype(np.float32) for _ in range(6)]
    results = []
    for protocol in (None, Bonawitz()):
        with InProcessContext(secure_sum=protocol):
            state = process.initialize()
            for _ in range(2):
                output = process.next(state, updates, [1.0] * 6)
                state = output.state
            results.append(output.result.tobytes())
    assert results[0] == results[1]
