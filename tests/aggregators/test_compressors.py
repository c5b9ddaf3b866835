"""Compressors: closed forms, bounds of papers, and lengths to the byte."""

import math

import hypothesis
import numpy as np
import pytest
import scipy.linalg
import tensorflow as tf
from hypothesis import strategies as st

from tff_pipeline import errors, registry
from tff_pipeline.aggregators.compressed import blocks, packing, sparse
from tff_pipeline.aggregators.compressed.compressor import CompressorContext
from tff_pipeline.aggregators.compressed.power_sgd import PowerSgd
from tff_pipeline.aggregators.compressed.quantisers import (
    Drive,
    Qsgd,
    Uniform,
)
from tff_pipeline.aggregators.compressed.signs import ScaledSigns
from tff_pipeline.config import CompressionConfig
from tff_pipeline.config.compression import LINEAR

# Those that make bytes; linear ones are steps of the aggregation.
CODES = sorted(set(registry.COMPRESSORS) - set(LINEAR))
SHAPES = ([40, 30], [30], [3, 3, 8, 16], [])
SPECS = [tf.TensorSpec(shape) for shape in SHAPES]
SIZES = [1200, 30, 1152, 1]
DIMENSION = sum(SIZES)


def update(seed=0, size=1.0):
    draw = np.random.default_rng(seed)
    return [
        tf.constant(size * draw.normal(size=shape), tf.float32)
        for shape in SHAPES
    ]


def flat(leaves):
    return np.concatenate([np.ravel(leaf) for leaf in leaves])


def key(number=0):
    return tf.constant([number, -3], tf.int64)


def made(name, **options):
    config = CompressionConfig(name, **options)
    make = registry.load(name, registry.COMPRESSORS)
    return make(CompressorContext(config, seed=0))


def sent(code, leaves, number=0):
    """(the payload, what is decoded) of a first update."""
    specs = [tf.TensorSpec(leaf.shape, leaf.dtype) for leaf in leaves]
    payload, _ = code.encode(leaves, code.initial_state(specs), key(number))
    return payload.numpy(), code.decode(payload, specs)


def decoded_often(code, vector, times):
    """What is decoded of a vector, float32 [times, n]."""

    @tf.function
    def once(number):
        leaves = [tf.constant(vector, tf.float32)]
        place = tf.stack([number, tf.constant(-3, tf.int64)])
        payload, _ = code.encode(leaves, (), place)
        return code.decode(payload, [tf.TensorSpec(leaves[0].shape)])[0]

    return np.stack([once(tf.constant(n, tf.int64)) for n in range(times)])


@hypothesis.settings(max_examples=40, deadline=None, derandomize=True)
@hypothesis.given(st.data(), st.integers(1, 31), st.integers(0, 40))
def test_codes_of_any_bits_come_back_and_waste_none(data, bits, count):
    codes = data.draw(
        st.lists(st.integers(0, 2**bits - 1), min_size=count, max_size=count)
    )
    packed = packing.pack(tf.constant(codes, tf.int32), bits)
    low = bits // 8 * 8 if bits % 8 else bits
    # Whole bytes of each code, then the bits that are left of all.
    assert len(packed) == count * low // 8 + math.ceil(count * (bits - low) / 8)
    assert len(packed) == packing.num_packed(count, bits)
    assert packing.unpack(packed, count, bits).numpy().tolist() == codes


@hypothesis.settings(max_examples=40, deadline=None, derandomize=True)
@hypothesis.given(st.sets(st.integers(0, 299), min_size=1), st.integers(0, 99))
def test_ascending_places_come_back(places, more):
    places = sorted(places)
    dimension = places[-1] + 1 + more
    data = sparse.ascending_to_bytes(
        tf.constant(places), len(places), dimension
    )
    back = sparse.ascending_from_bytes(data, len(places), dimension)
    assert back.numpy().tolist() == places
    # Elias and Fano: 2 + log2(d / k) bits a place, and the ends of two bytes.
    bits = math.floor(math.log2(dimension / len(places)))
    assert 8 * len(data) <= len(places) * (bits + 3) + 16


@pytest.mark.parametrize("size", [1, 2, 8, 64])
def test_rotation_is_hadamards_of_the_signed_block(size):
    rows = np.random.default_rng(0).normal(size=[3, size]).astype(np.float32)
    rotated = blocks.rotate(tf.constant(rows), tf.constant(5, tf.int64)).numpy()
    matrix = scipy.linalg.hadamard(size) / math.sqrt(size)
    signs = np.round(rotated @ matrix / rows)
    np.testing.assert_array_equal(np.abs(signs), 1)
    np.testing.assert_allclose(rotated @ matrix, signs * rows, atol=1e-6)
    back = blocks.rotate_back(rotated, tf.constant(5, tf.int64))
    np.testing.assert_allclose(back, rows, atol=1e-6)


def length_of(name, bits):
    """The length of a payload, by what a reader of the paper would count."""
    numbers, block = DIMENSION, 4096
    places = math.ceil(0.01 * DIMENSION)
    products = 2 * (40 + 30) + 2 * (72 + 16)
    return {
        # Two float32 a block and a seed; the padding is sent too.
        "uniform": 8 + 8 + block * bits / 8,
        "unrotated": 8 + math.ceil(numbers * bits / 8),
        "qsgd": 4 * math.ceil(numbers / 512) + math.ceil(numbers * bits / 8),
        "drive": 8 + 4 + block / 8,
        "top_k": 4 * places
        + math.ceil(places * 6 / 8)
        + math.ceil((places + (numbers - 1) // 2**6 + 1 - 1) / 8),
        "random_k": 4 * places + 8,
        "ef_sign": 4 * 4 + 1 + math.ceil(numbers / 8),
        "power_sgd": 4 * (products + 30 + 1),
    }[name]


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("uniform", {"bits": 3}),
        ("uniform", {"bits": 16}),
        ("unrotated", {"bits": 5, "rotation": False}),
        ("qsgd", {"bits": 4}),
        ("drive", {}),
        ("top_k", {}),
        ("random_k", {}),
        ("ef_sign", {}),
        ("power_sgd", {}),
    ],
)
def test_payloads_are_as_long_as_counted(name, options):
    code = made("uniform" if name == "unrotated" else name, **options)
    payload, _ = sent(code, update())
    assert payload.dtype == np.uint8
    assert len(payload) == length_of(name, options.get("bits", 0))


@pytest.mark.parametrize("name", CODES)
@pytest.mark.parametrize("size", [0.0, 1e-30, 1e15])
def test_zeros_give_zeros_and_no_size_gives_nan(name, size):
    leaves = update(size=size)
    _, back = sent(made(name), leaves)
    assert np.isfinite(flat(back)).all()
    if not size:
        assert not flat(back).any()
    if size > 1:
        error = np.linalg.norm((flat(back) - flat(leaves)) / size)
        assert error <= 2.5 * np.linalg.norm(flat(leaves) / size)


@pytest.mark.parametrize("name", CODES)
def test_a_code_is_a_function_of_its_key(name):
    code, leaves = made(name), update()
    one, _ = sent(code, leaves, 1)
    again, _ = sent(code, leaves, 1)
    np.testing.assert_array_equal(one, again)


UNBIASED = [
    Uniform(1, rotated=True),
    Uniform(2, rotated=False),
    Uniform(4, rotated=True),
    Qsgd(2),
    Qsgd(4),
    Drive(),
]


@pytest.mark.parametrize("code", UNBIASED, ids=lambda c: type(c).__name__)
def test_the_mean_of_what_is_decoded_is_the_update(code):
    vector, times = np.random.default_rng(0).normal(size=200), 500
    decoded = decoded_often(code, vector, times)
    error = decoded.mean(axis=0) - vector
    # Its squared norm is the variance / times, on average.
    expected = ((decoded - vector) ** 2).sum(axis=1).mean() / times
    assert not code.biased
    assert 0.5 < (error**2).sum() / expected < 1.6


@pytest.mark.parametrize("bits", [2, 4, 6])
def test_variance_of_qsgd_is_within_its_bound(bits):
    vector, levels = np.random.default_rng(1).normal(size=200), 2 ** (bits - 1)
    levels -= 1
    decoded = decoded_often(Qsgd(bits), vector, 300)
    variance = ((decoded - vector) ** 2).sum(axis=1).mean() / (vector @ vector)
    bound = min(200 / levels**2, math.sqrt(200) / levels)
    assert 0.1 * bound < variance <= bound
    levels = decoded / np.linalg.norm(vector) * levels
    np.testing.assert_allclose(levels, np.round(levels), atol=1e-4)


def test_uniform_levels_lie_between_the_least_and_the_largest():
    vector = np.random.default_rng(2).uniform(-3, 5, 64)
    decoded = decoded_often(Uniform(2, rotated=False), vector, 50)
    levels = np.linspace(vector.min(), vector.max(), 4)
    distance = np.abs(decoded[..., np.newaxis] - levels).min(axis=-1)
    assert distance.max() < 1e-5
    step = levels[1] - levels[0]
    assert np.abs(decoded - vector).max() < step + 1e-5


def test_error_of_drive_is_that_of_its_paper():
    vector = np.random.default_rng(3).lognormal(size=4096)
    decoded = decoded_often(Drive(), vector, 40)
    error = ((decoded - vector) ** 2).sum(axis=1).mean() / (vector @ vector)
    assert error == pytest.approx(math.pi / 2 - 1, rel=0.02)


def test_top_k_takes_the_largest_of_all_layers_and_the_first_of_equals():
    leaves = [tf.constant([[1.0, -5.0], [2.0, 2.0]]), tf.constant([2.0, 0.5])]
    _, back = sent(made("top_k", fraction=0.5), leaves)
    np.testing.assert_array_equal(back[0], [[0.0, -5.0], [2.0, 2.0]])
    np.testing.assert_array_equal(back[1], [0.0, 0.0])


def test_random_k_sends_numbers_as_they_are_of_all_places():
    code, leaves = made("random_k", fraction=0.1), update()
    vector, seen = flat(leaves), np.zeros(DIMENSION, bool)
    for number in range(50):
        _, back = sent(code, leaves, number)
        chosen = flat(back) != 0
        assert chosen.sum() == math.ceil(0.1 * DIMENSION)
        np.testing.assert_array_equal(flat(back)[chosen], vector[chosen])
        seen |= chosen
    assert seen.mean() > 0.99


def test_scaled_signs_have_each_layers_mean_size_and_leave_zeros():
    leaves = [tf.constant([[3.0, -1.0], [0.0, -4.0]]), tf.constant([0.5, -1.5])]
    payload, back = sent(ScaledSigns(), leaves)
    np.testing.assert_array_equal(back[0], [[2.0, -2.0], [0.0, -2.0]])
    np.testing.assert_array_equal(back[1], [1.0, -1.0])
    # Two scales, the byte of the zeros, six bits that tell them, five signs.
    assert len(payload) == 8 + 1 + 1 + 1


def low_rank(seed, rows, columns, rank):
    draw = np.random.default_rng(seed)
    return draw.normal(size=[rows, rank]) @ draw.normal(size=[rank, columns])


def test_power_sgd_is_exact_at_its_rank():
    leaves = [
        tf.constant(low_rank(0, 40, 30, 2), tf.float32),
        tf.constant(np.arange(30), tf.float32),
        tf.constant(low_rank(1, 72, 16, 2).reshape([3, 3, 8, 16]), tf.float32),
        tf.constant(7.0),
    ]
    _, back = sent(PowerSgd(2, seed=0), leaves)
    for one, other in zip(back, leaves):
        np.testing.assert_allclose(one, other, atol=1e-4)


def test_power_sgd_comes_nearer_from_the_factors_before():
    matrix, spec = low_rank(0, 40, 30, 8), [tf.TensorSpec([40, 30])]
    leaves = [tf.constant(matrix, tf.float32)]
    code = PowerSgd(2, seed=0)
    state, errors_ = code.initial_state(spec), []
    for _ in range(30):
        payload, state = code.encode(leaves, state, key())
        (back,) = code.decode(payload, spec)
        errors_.append(np.linalg.norm(back - matrix))
    best = np.sqrt((np.linalg.svd(matrix)[1][2:] ** 2).sum())
    assert errors_[0] > 1.05 * best
    assert errors_[-1] == pytest.approx(best, rel=0.01)


def test_a_matrix_of_zeros_does_not_lose_the_factors():
    code, spec = PowerSgd(2, seed=0), [tf.TensorSpec([40, 30])]
    state = code.initial_state(spec)
    _, after = code.encode([tf.zeros([40, 30])], state, key())
    np.testing.assert_array_equal(after[0], state[0])


def test_gamma_code_gives_the_same_in_fewer_bytes():
    pytest.importorskip("tensorflow_compression")
    plain, gamma = made("qsgd"), made("qsgd", entropy="elias_gamma")
    one, decoded = sent(plain, update())
    other, same = sent(gamma, update())
    assert len(other) < 0.6 * len(one)
    np.testing.assert_array_equal(flat(decoded), flat(same))


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"name": "uniform", "bits": 0}, "--compression_bits=0.*1 to 16"),
        ({"name": "uniform", "bits": 17}, "--compression_bits=17.*1 to 16"),
        ({"name": "qsgd", "bits": 1}, "--compression_bits=1.*sign"),
        ({"name": "top_k", "fraction": 1.5}, "--compression_fraction=1.5"),
        ({"name": "top_k", "bits": 4}, "--compression_bits=4 is not used"),
        ({"rank": 2}, "--compression_rank=2 is not used"),
        ({"name": "zip"}, "--compression=zip.*uniform"),
        ({"down": "drive", "rank": 2}, "with --compression_down=drive"),
    ],
)
def test_wrong_options_are_refused_in_a_sentence(options, sentence):
    with pytest.raises(errors.ConfigError, match=sentence):
        CompressionConfig(**options)


def test_options_of_either_direction_are_taken():
    config = CompressionConfig("top_k", down="uniform", bits=8)
    assert (config.bits, config.fraction, config.rank) == (8, 0.01, None)
