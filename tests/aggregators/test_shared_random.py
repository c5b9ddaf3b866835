"""The same random numbers of all clients: unbiased, linear, and shorter."""

import collections

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_federated as tff
from scipy import stats

from tff_pipeline import errors
from tff_pipeline.aggregators.aggregation import (
    Aggregation,
    AggregationContext,
)
from tff_pipeline.aggregators.chain import build
from tff_pipeline.aggregators.collect import TAG_TYPE
from tff_pipeline.aggregators.compressed import shared_random
from tff_pipeline.aggregators.compressed.compressor import CompressorContext
from tff_pipeline.aggregators.private.dp_mean import DpMeanFactory
from tff_pipeline.aggregators.private.noise import FreshNoise
from tff_pipeline.algorithms.algorithm import check
from tff_pipeline.config import (
    AggregationConfig,
    AlgorithmConfig,
    ClientConfig,
    CompressionConfig,
    ExperimentConfig,
    PrivacyConfig,
)
from tff_pipeline.runtime.in_process import InProcessContext
from tff_pipeline.runtime.local import LocalWorker
from tff_pipeline.secure_sum.bonawitz import Bonawitz
from tff_pipeline.secure_sum.measured import Measured
from tff_pipeline.secure_sum.plain import Plain

SHAPES = ([4, 3], [], [3])
DIMENSION = 16
MODEL = tff.to_type([tff.TensorType(np.float32, shape) for shape in SHAPES])
WEIGHT = tff.TensorType(np.float32)
SECURE = AggregationConfig("secure_mean", secure_mean_range=20.0)
WEIGHTS = [1.0, 0.5, 0.25]


def updates(seed, num_clients=3):
    draw = np.random.default_rng(seed)
    return [
        [draw.normal(size=shape).astype(np.float32) for shape in SHAPES]
        for _ in range(num_clients)
    ]


def flat(update):
    return np.concatenate([np.ravel(leaf) for leaf in update])


def code_of(fraction=0.25, seed=0):
    config = CompressionConfig("shared_random_k", fraction=fraction)
    return shared_random.shared_random_k(CompressorContext(config, seed))


def process_of(name="mean", **options):
    config = SECURE if name == "secure_mean" else AggregationConfig(name)
    built = code_of(**options).before(build(AggregationContext(config, 3)))
    return built.factory.create(MODEL, WEIGHT)


@pytest.fixture(scope="module")
def mean():
    return process_of()


@pytest.fixture(scope="module")
def secure():
    return process_of("secure_mean")


def rounds(process, values, count, protocol=None):
    """The results of rounds, flat, and the state after the last."""
    results = []
    with InProcessContext(1, secure_sum=protocol):
        state = process.initialize()
        for _ in range(count):
            output = process.next(state, values, WEIGHTS)
            state = output.state
            results.append(flat(output.result))
    return np.array(results), state


def test_a_quarter_of_the_mean_arrives_times_four(mean):
    values = updates(0)
    expected = np.average([flat(v) for v in values], axis=0, weights=WEIGHTS)
    results, state = rounds(mean, values, 5)
    for result in results:
        (there,) = np.nonzero(result)
        assert there.size == 4
        np.testing.assert_allclose(
            result[there], 4 * expected[there], rtol=1e-5
        )
    assert len({tuple(np.nonzero(each)[0]) for each in results}) > 1
    assert int(state["round"]) == 5


def test_all_places_are_drawn_as_often_and_pairs_too():
    """Unbiased: a place is drawn with the probability k / d."""
    numbers = tf.range(4000, dtype=tf.int64)
    drawn = tf.map_fn(
        lambda number: shared_random.places(7, number, 4, DIMENSION),
        numbers,
        fn_output_signature=tf.int32,
    ).numpy()
    assert (np.diff(drawn, axis=1) > 0).all()  # Ascending, and none twice.
    counts = np.bincount(drawn.ravel(), minlength=DIMENSION)
    # Without replacement, counts vary a little less than the test expects.
    assert stats.chisquare(counts).pvalue > 1e-3
    chosen = np.zeros([4000, DIMENSION])
    np.put_along_axis(chosen, drawn, 1.0, axis=1)
    pairs = chosen.T @ chosen / 4000
    together = 4 * 3 / (DIMENSION * (DIMENSION - 1))
    off = pairs[~np.eye(DIMENSION, dtype=bool)]
    assert np.abs(off - together).max() < 6 * np.sqrt(together / 4000)


def test_places_follow_from_seed_and_round_and_a_resumed_run_has_the_same(mean):
    values = updates(1)
    whole, _ = rounds(mean, values, 4)
    _, state = rounds(mean, values, 2)
    state = tf.nest.map_structure(np.asarray, state)
    with InProcessContext(1):
        output = mean.next(state, values, WEIGHTS)
    np.testing.assert_array_equal(flat(output.result), whole[2])
    other, _ = rounds(process_of(seed=1), values, 4)
    assert (np.sign(np.abs(other)) != np.sign(np.abs(whole))).any()


def test_secure_sums_are_of_the_numbers_that_are_sent_and_exact(secure):
    values = updates(2)
    plain, _ = rounds(secure, values, 2)
    masked, _ = rounds(secure, values, 2, Bonawitz())
    np.testing.assert_array_equal(masked, plain)
    expected, _ = rounds(process_of(), values, 2)
    np.testing.assert_allclose(plain, expected, atol=1e-3)


@pytest.mark.parametrize(("protocol", "frame"), [(Plain, 0), (Bonawitz, 110)])
def test_what_is_sent_is_as_much_shorter(protocol, frame):
    kind = tff.to_type([tff.TensorType(np.float32, [4000])])
    value = [[np.ones(4000, np.float32)]] * 3
    whole = build(AggregationContext(SECURE, 3))
    shorter = code_of(0.1).before(whole)
    lengths = []
    for aggregation in (whole, shorter):
        process = aggregation.factory.create(kind, WEIGHT)
        measured = Measured(protocol())
        with InProcessContext(1, secure_sum=measured):
            process.next(process.initialize(), value, WEIGHTS)
        lengths.append(measured.take())
        assert lengths[-1] == frame + aggregation.bytes_of(kind, WEIGHT)
    # Three numbers of 20 bits take 22; the weight and counts 7 to 9 bytes.
    assert lengths[0] - lengths[1] == pytest.approx(
        (4000 - 400) * 22 / 8, abs=1
    )
    mean = code_of(0.1).before(
        build(AggregationContext(AggregationConfig(), 3))
    )
    assert mean.bytes_of(kind, WEIGHT) == 4 * 400 + 4


def test_encrypted_sums_are_of_the_numbers_that_are_sent():
    pytest.importorskip("tenseal")
    values = updates(6)
    encrypted, _ = rounds(process_of("he_mean"), values, 1)
    expected, _ = rounds(process_of(), values, 1)
    np.testing.assert_allclose(encrypted, expected, atol=1e-5)


def test_a_clip_holds_for_what_is_sent_whatever_was_drawn():
    """Sensitivity: the selection makes numbers larger, and the clip follows."""
    clip = 0.5
    noiseless = FreshNoise(np.zeros(2, np.int64))
    inner = Aggregation(DpMeanFactory(clip, 0.0, 1, noiseless))
    process = code_of().before(inner).factory.create(MODEL)
    with InProcessContext(1):
        state = process.initialize()
        for _ in range(4):
            output = process.next(state, updates(3, 1))
            state = output.state
            norm = np.linalg.norm(flat(output.result))
            assert norm == pytest.approx(clip, rel=1e-4)


def test_rules_on_rows_take_the_numbers_that_are_sent():
    values = updates(4)
    config = AggregationConfig("median", byzantine_clients=1)
    built = code_of().before(build(AggregationContext(config, 3)))
    assert built.tagged and built.rule is None
    process = built.factory.create(MODEL, TAG_TYPE)
    tags = [
        collections.OrderedDict(weight=1.0, key=i, mark=0, round=1)
        for i in range(3)
    ]
    with InProcessContext(1):
        output = process.next(process.initialize(), values, tags)
    result = flat(output.result)
    (there,) = np.nonzero(result)
    expected = np.median([flat(v) for v in values], axis=0)
    assert there.size == 4
    np.testing.assert_allclose(result[there], 4 * expected[there], rtol=1e-6)


@pytest.mark.parametrize(
    ("aggregator", "options"),
    [
        ("centered_clipping", {"centered_clip_norm": 1.0}),
        ("nnm+centered_clipping", {"centered_clip_norm": 1.0}),
        ("dp_tree", {}),
        ("dp_matrix", {}),
    ],
)
def test_servers_that_remember_numbers_are_refused(aggregator, options):
    privacy = PrivacyConfig()
    if aggregator.startswith("dp"):
        privacy = PrivacyConfig(dp_clip=1.0, dp_noise_multiplier=1.0)
    with pytest.raises(
        errors.ConfigError,
        match=f"shared_random_k .*{aggregator[-8:]}.* from round to round",
    ):
        ExperimentConfig(
            compression=CompressionConfig("shared_random_k"),
            aggregation=AggregationConfig(aggregator, **options),
            privacy=privacy,
        )


def test_it_is_no_code_for_the_model_nor_for_updates_without_rounds():
    with pytest.raises(errors.ConfigError, match="--compression_down"):
        CompressionConfig(down="shared_random_k")
    with pytest.raises(errors.ConfigError, match="fed_buff has none"):
        check(
            ExperimentConfig(
                compression=CompressionConfig("shared_random_k"),
                algorithm=AlgorithmConfig("fed_buff"),
                clients=ClientConfig(clients_per_round=4),
            )
        )


def test_the_workers_results_are_the_same(mean):
    values = updates(5)
    here, _ = rounds(mean, values, 1)
    with LocalWorker():
        output = mean.next(mean.initialize(), values, WEIGHTS)
    np.testing.assert_allclose(flat(output.result), here[0], rtol=1e-6)
