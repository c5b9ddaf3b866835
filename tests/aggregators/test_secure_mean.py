"""The weighted mean by secure sums: exact on its grid, honest about cuts."""

import collections
import math

import numpy as np
import pytest
import tensorflow_federated as tff

from tff_pipeline.aggregators.aggregation import AggregationContext
from tff_pipeline.aggregators.chain import build
from tff_pipeline.aggregators.secure_mean import SecureMeanFactory
from tff_pipeline.config import AggregationConfig
from tff_pipeline.runtime.in_process import InProcessContext
from tff_pipeline.runtime.local import LocalWorker
from tff_pipeline.secure_sum.bonawitz import Bonawitz, Stage

MODEL = tff.to_type([tff.TensorType(np.float32, [3, 2]), np.float32])
WEIGHT = tff.TensorType(np.float32)


def updates(seed, num_clients, scale=0.3):
    generator = np.random.default_rng(seed)
    return [
        [
            generator.normal(scale=scale, size=[3, 2]).astype(np.float32),
            np.float32(generator.normal(scale=scale)),
        ]
        for _ in range(num_clients)
    ]


def flat(update):
    return np.concatenate([np.ravel(leaf) for leaf in update])


def aggregate(factory, values, weights, protocol=None, kind=MODEL):
    process = factory.create(kind, WEIGHT)
    with InProcessContext(secure_sum=protocol):
        return process.next(process.initialize(), values, weights)


WEIGHTS = [3.0, 1.0, 40.0, 17.0, 600.0]


def by_hand(values, weights, bound, bits, largest):
    """The grid's arithmetic with Python's integers and numpy's float64."""
    half = 2 ** (bits - 1) - 1
    total = sum(
        np.round(
            np.clip(flat(v).astype(float), -bound, bound)
            * (w / largest)
            / bound
            * half
        ).astype(int)
        for v, w in zip(values, weights)
    )
    return (total * (bound / half) * (largest / sum(weights))).astype(
        np.float32
    )


@pytest.mark.parametrize("bits", [2, 8, 20, 30])
def test_it_is_the_mean_on_the_grid_by_hand(bits):
    values = updates(bits, 5)
    output = aggregate(SecureMeanFactory(2.0, bits, 600.0), values, WEIGHTS)
    expected = by_hand(values, WEIGHTS, 2.0, bits, 600.0)
    assert np.array_equal(flat(output.result), expected)
    mean = np.average([flat(v) for v in values], axis=0, weights=WEIGHTS)
    step = 2.0 / (2 ** (bits - 1) - 1)
    most = step / 2 * 600 / np.mean(WEIGHTS)
    assert np.abs(flat(output.result) - mean).max() <= most * (1 + 1e-6) + 1e-7


@pytest.mark.parametrize("neighbours", [None, 2])
def test_a_protocol_gives_the_same_bits(neighbours):
    values = updates(1, 5)
    factory = SecureMeanFactory(2.0, 20, 600.0)
    plain = aggregate(factory, values, WEIGHTS)
    secure = aggregate(factory, values, WEIGHTS, Bonawitz(neighbours))
    assert flat(secure.result).tobytes() == flat(plain.result).tobytes()
    assert secure.measurements == plain.measurements


def test_whoever_drops_out_in_the_protocol_is_not_in_the_mean():
    values = updates(2, 5)
    factory = SecureMeanFactory(2.0, 20, 600.0)
    protocol = Bonawitz(
        drop_out=lambda _, c: {1: Stage.MASKED, 3: Stage.UNMASKING}.get(c)
    )
    left = [0, 2, 3, 4]
    without = aggregate(
        factory, [values[c] for c in left], [WEIGHTS[c] for c in left]
    )
    dropped = aggregate(factory, values, WEIGHTS, protocol)
    assert flat(dropped.result).tobytes() == flat(without.result).tobytes()


def test_zeros_stay_zero():
    zeros = [[np.zeros([3, 2], np.float32), np.float32(0)]] * 3
    output = aggregate(SecureMeanFactory(1.0, 3, 7.0), zeros, [1.0, 5.0, 7.0])
    assert not flat(output.result).any()


def test_what_is_cut_is_counted():
    """X4: Flower 1.42 clips at 8 without a word."""
    one = [
        np.array([[1.5, -7], [np.inf, -np.inf], [np.nan, 1]], np.float32),
        np.float32(-1),
    ]
    other = [np.full([3, 2], 0.5, np.float32), np.float32(0.25)]
    output = aggregate(SecureMeanFactory(1.0, 24, 4.0), [one, other], [9.0, 4])
    assert output.measurements == {"clipped_values": 5, "clipped_weights": 1}
    expected = np.array([1, -1, 1, -1, 0, 1, -1]) * 0.5
    expected += np.array([0.5, 0.5, 0.5, 0.5, 0.5, 0.5, 0.25]) * 0.5
    np.testing.assert_allclose(flat(output.result), expected, atol=1e-6)


def test_whole_weights_are_exact_and_others_nearly():
    ones = [[np.ones([3, 2], np.float32), np.float32(1)]] * 3
    for weights in ([1.0, 999.0, 123.0], [0.1, 0.7, 999.9]):
        output = aggregate(SecureMeanFactory(1.0, 30, 1000.0), ones, weights)
        np.testing.assert_allclose(flat(output.result), 1, rtol=1e-6)


def test_without_clients_or_weights_it_is_not_a_number():
    factory = SecureMeanFactory(1.0, 20, 1.0)
    assert np.isnan(flat(aggregate(factory, [], []).result)).all()
    zeros = aggregate(factory, updates(0, 2), [0.0, 0.0])
    assert np.isnan(flat(zeros.result)).all()


@pytest.mark.parametrize("num_clients", [2, 3, 7, 33])
def test_the_largest_sums_do_not_wrap_around(num_clients):
    """X5: the modulus is above clients times range, whoever comes."""
    kind = tff.to_type([tff.TensorType(np.float32, [2])])
    values = [[np.array([1, -1], np.float32)]] * num_clients
    factory = SecureMeanFactory(1.0, 30, 1e9)
    output = aggregate(factory, values, [1e9] * num_clients, Bonawitz(), kind)
    np.testing.assert_array_equal(output.result[0], [1, -1])


def test_the_workers_sums_are_the_same():
    values = updates(3, 4)
    process = SecureMeanFactory(2.0, 20, 40.0).create(MODEL, WEIGHT)
    outputs = []
    for context in (InProcessContext(), LocalWorker()):
        with context:
            outputs.append(
                process.next(process.initialize(), values, WEIGHTS[:4])
            )
    assert (
        flat(outputs[0].result).tobytes() == flat(outputs[1].result).tobytes()
    )


def test_it_is_built_by_its_name_and_with_a_clip_before_it():
    config = AggregationConfig(
        "clip+secure_mean", clip_norm=1.0, secure_mean_max_weight=600.0
    )
    built = build(AggregationContext(config, 5))
    assert built.secure
    assert built.columns == (
        "clipped_clients",
        "clipped_values",
        "clipped_weights",
    )
    values = updates(4, 5, scale=1.0)
    norms = [math.sqrt((flat(v).astype(float) ** 2).sum()) for v in values]
    output = aggregate(built.factory, values, WEIGHTS, Bonawitz())
    assert built.measure(output.measurements) == {
        "clipped_clients": sum(norm > 1 for norm in norms),
        "clipped_values": 0,
        "clipped_weights": 0,
    }
    scaled = [flat(v) / max(1, norm) for v, norm in zip(values, norms)]
    expected = np.average(scaled, axis=0, weights=WEIGHTS)
    np.testing.assert_allclose(flat(output.result), expected, atol=1e-5)


def test_it_takes_messages_of_several_parts():
    kind = tff.to_type(
        collections.OrderedDict(update=MODEL, extra=tff.TensorType(np.float32))
    )
    values = [
        collections.OrderedDict(update=update, extra=np.float32(i))
        for i, update in enumerate(updates(5, 3))
    ]
    output = aggregate(
        SecureMeanFactory(4.0, 24, 1.0), values, [1.0] * 3, None, kind
    )
    assert output.result["extra"] == pytest.approx(1.0, abs=1e-6)
