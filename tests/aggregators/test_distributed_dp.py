"""Noise that clients add: its law, what one client can do, the accounting."""

import collections
import dataclasses
import itertools
import math

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_federated as tff
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import linalg, special, stats

from tff_pipeline.aggregators.private import discrete_gaussian
from tff_pipeline.aggregators.private.discrete_mechanism import (
    Mechanism,
    concentrated_epsilon,
    tau,
)
from tff_pipeline.aggregators.private.distributed import (
    DistributedDpMeanFactory,
    NumberedDistributedDpMeanFactory,
)
from tff_pipeline.aggregators.private.integers import encode, hadamard, rounded
from tff_pipeline.runtime.in_process import InProcessContext

KEY = np.array([20210212, -4711], np.int64)
SEED = tf.constant([3, 14], tf.int64)
# 1.2e-10 on either side: a fixed seed passes for good or never.
SIGMAS = 6.4


def vector_type(dimension):
    return tff.TensorType(np.float32, [dimension])


def weights_of(stddev, reach):
    """Of the integers from -reach to reach; the exact law, not normalised."""
    return np.exp(-((np.arange(-reach, reach + 1) / stddev) ** 2) / 2)


def law_of(stddev, reach):
    weights = weights_of(stddev, reach)
    return weights / weights.sum()


# Of bins of 1, 2, 4 and 64 numbers.
@pytest.mark.parametrize("stddev", [0.4, 1.0, 5.0, 47.0, 70.0, 1100.0])
def test_the_sampler_has_the_law_of_the_discrete_gaussian(stddev):
    count = 1_000_000
    drawn = discrete_gaussian.sample(SEED, stddev, count).numpy()
    reach = math.ceil(12 * stddev)
    assert np.abs(drawn).max() <= reach
    observed = np.bincount(drawn + reach, minlength=2 * reach + 1)
    expected = count * law_of(stddev, reach)
    # Numbers too rare for a chi-square count together.
    rare = expected < 10
    observed = np.append(observed[~rare], observed[rare].sum())
    expected = np.append(expected[~rare], expected[rare].sum())
    statistic = ((observed - expected) ** 2 / expected).sum()
    assert stats.chi2.sf(statistic, len(expected) - 1) > 1e-6
    # The tail by itself.
    beyond = np.abs(drawn) > 3 * stddev
    p = law_of(stddev, reach)[np.abs(np.arange(-reach, reach + 1)) > 3 * stddev]
    tail = stats.binom(count, p.sum())
    assert tail.cdf(beyond.sum()) > 1e-6
    assert tail.sf(beyond.sum() - 1) > 1e-6


def test_the_sampler_is_a_function_of_its_seed():
    first, again = (discrete_gaussian.sample(SEED, 9.0, 999) for _ in range(2))
    other = discrete_gaussian.sample(SEED + 1, 9.0, 999)
    np.testing.assert_array_equal(first, again)
    assert np.mean(first.numpy() == other.numpy()) < 0.1


def test_a_sigma_that_the_sampler_has_no_bits_for_is_refused():
    for stddev in (0.0, 2.0**28 + 1, math.nan):
        with pytest.raises(ValueError, match="stddev="):
            discrete_gaussian.sample(SEED, stddev, 1)


@pytest.mark.parametrize("dimension", [1, 2, 64, 128, 1024])
def test_the_rotation_is_the_hadamard_matrix(dimension):
    vector = np.random.default_rng(1).normal(size=dimension)
    expected = linalg.hadamard(dimension) @ vector / math.sqrt(dimension)
    found = hadamard(tf.constant(vector))
    np.testing.assert_allclose(found, expected, atol=1e-12)
    np.testing.assert_allclose(hadamard(found), vector, atol=1e-12)


def test_rounding_is_unbiased_and_to_neighbours():
    vector = np.linspace(-3, 3, 601)
    draws = 500
    total = np.zeros_like(vector)
    draw = tf.function(rounded)
    for number in range(draws):
        value = draw(SEED + number, tf.constant(vector), 1e9)
        assert np.all(np.abs(value - vector) < 1)
        total += value
    fraction = vector - np.floor(vector)
    stddev = np.sqrt(fraction * (1 - fraction) / draws)
    assert np.all(np.abs(total / draws - vector) <= SIGMAS * stddev + 1e-9)


def test_a_rounding_that_is_too_long_is_drawn_again():
    # To either side with one half: a norm that varies most.
    vector = tf.fill([16], tf.constant(0.5, tf.float64))
    bound = 3.0
    norms = []
    draw = tf.function(rounded)
    for number in range(200):
        free = draw(SEED + number, vector, 1e9)
        held = draw(SEED + number, vector, bound)
        assert np.linalg.norm(held) <= bound
        norms.append(np.linalg.norm(free))
        if norms[-1] <= bound * (1 - 1e-9):
            np.testing.assert_array_equal(free, held)
    assert 0.1 < np.mean(np.array(norms) > bound) < 0.9


HOSTILE = [0.0, 1e30, -1e30, 3e38, 1e-30, 1e-45, math.inf, -math.inf, math.nan]


def integers(mechanism, update, number=0, number_of_round=0):
    """What a client sends, around 0."""
    sent = encode(
        mechanism,
        KEY,
        tf.constant(number_of_round, tf.int64),
        tf.constant(number, tf.int64),
        update,
    ).numpy()
    assert sent.min() >= 0
    assert sent.max() < mechanism.modulus
    half = mechanism.modulus // 2
    return (sent + half) % mechanism.modulus - half


# Coarse, so that rounding moves norms, and far from wrapping around.
COARSE = Mechanism(0.0, 0.7, 11, 1, bits=7, modular_clips=9.0)


@pytest.mark.soak
@settings(max_examples=200)
@given(
    update=st.lists(
        st.sampled_from(HOSTILE) | st.floats(-1, 1, width=32),
        min_size=11,
        max_size=11,
    ),
    scale=st.sampled_from([1.0, 50.0]),
    number=st.integers(0, 2**62),
)
def test_no_client_moves_the_sum_by_more_than_the_bound(update, scale, number):
    with np.errstate(over="ignore"):
        update = np.array(update, np.float32) * np.float32(scale)
    sent = integers(COARSE, [tf.constant(update)], number)
    assert np.linalg.norm(sent) <= COARSE.norm_bound
    assert np.abs(sent).sum() <= COARSE.norm_bound**2
    if not np.all(np.isfinite(update)) or not update.any():
        assert not sent.any()


def test_the_bound_is_nearly_reached():
    # Otherwise the property above would say little.
    update = [tf.fill([11], tf.constant(1.0))]
    norms = [np.linalg.norm(integers(COARSE, update, n)) for n in range(100)]
    assert max(norms) > 0.9 * COARSE.norm_bound
    assert max(norms) > 1.01 * COARSE.bound / COARSE.granularity


def test_a_client_adds_the_noise_to_what_it_would_send_without():
    noisy = dataclasses.replace(COARSE, noise_multiplier=2.0, bits=20)
    # The same grid, without noise.
    ratio = noisy.granularity / dataclasses.replace(COARSE, bits=20).granularity
    silent = dataclasses.replace(
        COARSE, bits=20, modular_clips=COARSE.modular_clips * ratio
    )
    assert silent.granularity == pytest.approx(noisy.granularity, rel=1e-9)
    update = [tf.constant(np.linspace(0, 1, 11, dtype=np.float32))]
    silents = [integers(silent, update, number) for number in range(60)]
    noises = [integers(noisy, update, number) for number in range(60)]
    noise = np.array(noises) - silents
    # Of which the last bits differ between the two grids' rounding.
    z = noise / noisy.local_stddev
    assert stats.kstest(z.ravel(), "norm").pvalue > 1e-6


UPDATE_TYPE = tff.types.to_type(
    collections.OrderedDict(
        kernel=tff.TensorType(np.float32, [30, 41]),
        bias=tff.TensorType(np.float32, [2]),
        scale=np.float32,
    )
)


def random_update(number, norm):
    generator = np.random.default_rng(number)
    update = collections.OrderedDict(
        kernel=generator.normal(size=[30, 41]),
        bias=generator.normal(size=[2]),
        scale=generator.normal(size=[]),
    )
    length = np.linalg.norm(flat(update))
    return collections.OrderedDict(
        (name, np.asarray(value * norm / length, np.float32))
        for name, value in update.items()
    )


def flat(update):
    return np.concatenate([np.ravel(value) for value in update.values()])


@pytest.mark.parametrize("bits", [12, 20, 30])
def test_without_noise_the_mean_comes_back(bits):
    clients, bound = 7, 0.5
    mechanism = Mechanism(0.0, bound, 1233, clients, bits)
    process = DistributedDpMeanFactory(bound, 0.0, clients, KEY, bits).create(
        UPDATE_TYPE
    )
    updates = [random_update(i, bound * 0.9) for i in range(clients - 1)]
    # Fifty times too large, it counts as one of the clip's norm.
    updates.append(random_update(clients, 50 * bound))
    expected = [flat(update) for update in updates[:-1]]
    expected.append(flat(random_update(clients, bound)))
    expected = np.mean(expected, axis=0)
    with InProcessContext():
        output = process.next(process.initialize(), updates)
    assert list(output.result) == list(UPDATE_TYPE._asdict())
    error = flat(output.result) - expected
    # A rounding has a variance of 1/4 at most.
    stddev = mechanism.granularity * math.sqrt(clients) / 2 / clients
    assert np.abs(error).max() <= SIGMAS * stddev + 3e-7
    assert np.linalg.norm(error) <= 1.1 * stddev * math.sqrt(2048) + 3e-6
    assert output.state == 1
    # As coarse as it is thought to be.
    if bits == 12:
        assert np.linalg.norm(error) > 0.3 * stddev * math.sqrt(1233)


def test_a_sum_does_not_wrap_around_in_the_worst_case():
    clients, dimension = 16, 4096
    mechanism = Mechanism(0.05, 1.0, dimension, clients, bits=16)
    # All of them as long as the clip, and in one direction.
    update = [tf.constant(np.random.default_rng(5).normal(size=dimension))]
    update = [tf.cast(update[0] / tf.norm(update[0]), tf.float32)]
    sent = np.array([integers(mechanism, update, n) for n in range(clients)])
    largest = np.abs(sent.sum(axis=0)).max()
    # 4 sigmas are half of the modulus, and of 4096 one or none is beyond.
    assert largest < 1.2 * mechanism.modulus / 2
    assert largest > 0.6 * mechanism.modulus / 2
    # Of 6 sigmas, none.
    wide = dataclasses.replace(mechanism, modular_clips=6.0)
    sent = np.array([integers(wide, update, n) for n in range(clients)])
    assert np.abs(sent.sum(axis=0)).max() < wide.modulus / 2


NOISE = {"noise_multiplier": 1.3, "bound": 0.5, "expected_clients": 4}


@pytest.fixture(scope="module")
def released():
    """The means of a few rounds of zeros, [rounds, dimension]."""
    process = DistributedDpMeanFactory(key=KEY, **NOISE).create(
        vector_type(5000)
    )
    zeros = [np.zeros(5000, np.float32)] * NOISE["expected_clients"]
    means = []
    with InProcessContext():
        state = process.initialize()
        for _ in range(4):
            output = process.next(state, zeros)
            state = output.state
            means.append(output.result)
        # The first round once more.
        means.append(process.next(process.initialize(), zeros).result)
    return np.array(means, np.float64)


def test_the_mean_has_the_noise_that_was_asked_for(released):
    stddev = (
        NOISE["noise_multiplier"] * NOISE["bound"] / NOISE["expected_clients"]
    )
    for mean in released:
        # Were two clients' noise the same, this would be off by a half.
        statistic = np.square(mean / stddev).sum()
        law = stats.chi2(mean.size)
        assert 1e-6 < law.cdf(statistic) < 1 - 1e-6
        assert abs(mean.mean()) < SIGMAS * stddev / math.sqrt(mean.size)
        assert stats.kstest(mean / stddev, "norm").pvalue > 1e-6


def test_noise_is_independent_across_rounds_and_coordinates(released):
    def correlation(a, b):
        return np.corrcoef(a, b)[0, 1] * math.sqrt(len(a))

    for i, mean in enumerate(released):
        for other in released[:i]:
            assert abs(correlation(mean, other)) < SIGMAS
        for lag in (1, 2, 64, 2048):
            assert abs(correlation(mean[lag:], mean[:-lag])) < SIGMAS


def test_clients_with_numbers_give_the_same_bits_for_any_threads():
    process = NumberedDistributedDpMeanFactory(key=KEY, **NOISE).create(
        vector_type(300), tff.TensorType(np.int64)
    )
    # Two of them the same, but for their numbers.
    updates = [np.full(300, value, np.float32) for value in (0, 0, 0.01, 0.02)]
    numbers = [11, 2**62 - 1, 13, 14]
    found = []
    for threads in (1, 3):
        with InProcessContext(threads):
            output = process.next(process.initialize(), updates, numbers)
            second = process.next(output.state, updates, numbers)
        found.append((output.result, second.result))
    np.testing.assert_array_equal(found[0], found[1])
    assert not np.any(found[0][0] == found[0][1])


def test_noise_differs_by_client_round_and_update():
    mechanism = Mechanism(dimension=300, **NOISE)
    zeros = [tf.zeros([300])]
    nearly = [tf.concat([tf.zeros([299]), [1e-30]], axis=0)]
    first = integers(mechanism, zeros)
    np.testing.assert_array_equal(first, integers(mechanism, zeros))
    for other in (
        integers(mechanism, zeros, number=1),
        integers(mechanism, zeros, number_of_round=1),
        # Rounds to the same integers.
        integers(mechanism, nearly),
    ):
        assert abs(np.corrcoef(first, other)[0, 1]) * math.sqrt(512) < SIGMAS


def test_rotations_differ_by_round():
    silent = Mechanism(0.0, 1.0, 256, 4)
    update = [tf.ones([256])]
    first, second = (
        integers(silent, update, number_of_round=r) for r in (0, 1)
    )
    assert abs(np.corrcoef(first, second)[0, 1]) * math.sqrt(256) < SIGMAS


def test_nobody_s_mean_is_zeros():
    process = DistributedDpMeanFactory(key=KEY, **NOISE).create(vector_type(20))
    with InProcessContext():
        output = process.next(process.initialize(), [])
    assert not output.result.any()


def test_what_is_not_float32_is_refused():
    with pytest.raises(TypeError, match="float32"):
        DistributedDpMeanFactory(key=KEY, **NOISE).create(
            tff.TensorType(np.float64, [3])
        )
    with pytest.raises(TypeError, match="int64"):
        NumberedDistributedDpMeanFactory(key=KEY, **NOISE).create(
            vector_type(3), tff.TensorType(np.float32)
        )


@pytest.mark.soak
def test_federated_averaging_takes_it():
    def model_fn():
        keras = tf.keras.Sequential(
            [tf.keras.layers.Dense(1, kernel_initializer="zeros")]
        )
        keras.build([None, 3])
        return tff.learning.models.from_keras_model(
            keras,
            loss=tf.keras.losses.MeanSquaredError(),
            input_spec=(
                tf.TensorSpec([None, 3], tf.float32),
                tf.TensorSpec([None, 1], tf.float32),
            ),
        )

    def weights_after(aggregator):
        process = tff.learning.algorithms.build_unweighted_fed_avg(
            model_fn,
            tff.learning.optimizers.build_sgdm(0.05),
            model_aggregator=aggregator,
        )
        state = process.initialize()
        for _ in range(2):
            state = process.next(state, data).state
        trained = process.get_model_weights(state).trainable
        return np.concatenate([np.ravel(value) for value in trained])

    generator = np.random.default_rng(2)
    data = []
    for _ in range(3):
        x = generator.normal(size=[8, 3]).astype(np.float32)
        y = x.sum(axis=1, keepdims=True) + 1
        data.append(tf.data.Dataset.from_tensor_slices((x, y)).batch(4))
    with InProcessContext():
        plain = weights_after(tff.aggregators.UnweightedMeanFactory())
        exact = weights_after(DistributedDpMeanFactory(5.0, 0.0, 3, KEY, 28))
    assert np.linalg.norm(plain) > 0.3
    np.testing.assert_allclose(exact, plain, atol=1e-5)


MECHANISMS = st.builds(
    Mechanism,
    noise_multiplier=st.floats(0.01, 20),
    bound=st.floats(1e-3, 1e3),
    dimension=st.integers(1, 10**7),
    expected_clients=st.integers(1, 2000),
    bits=st.integers(4, 30),
    beta=st.sampled_from([0.0, 1e-3, math.exp(-0.5), 0.99]),
    modular_clips=st.floats(1, 8),
)


@given(MECHANISMS)
def test_the_grid_is_the_one_of_section_4(mechanism):
    n, c, gamma = (
        mechanism.expected_clients,
        mechanism.bound,
        mechanism.granularity,
    )
    if not math.isfinite(gamma):
        assert mechanism.modulus <= mechanism.modular_clips * math.sqrt(n)
        return
    d, sigma = mechanism.padded, mechanism.local_stddev * gamma
    assert d >= mechanism.dimension > d / 2
    assert sigma * math.sqrt(n) == pytest.approx(mechanism.noise_multiplier * c)
    variance = c**2 * n**2 / d + (gamma**2 / 4 + sigma**2) * n
    assert mechanism.modulus * gamma / 2 == pytest.approx(
        mechanism.modular_clips * math.sqrt(variance), rel=1e-9
    )
    # Delta_2^2 of theorem 1.
    delta = (c + gamma * math.sqrt(d)) ** 2
    if mechanism.beta:
        slack = math.sqrt(2 * math.log(1 / mechanism.beta))
        delta = min(
            delta,
            c**2
            + gamma**2 * d / 4
            + slack * gamma * (c + gamma / 2 * math.sqrt(d)),
        )
    assert mechanism.norm_bound == pytest.approx(
        math.sqrt(delta) / gamma, rel=1e-9
    )


@given(MECHANISMS)
def test_the_effective_noise_is_at_most_the_noise(mechanism):
    effective = mechanism.effective_noise_multiplier()
    assert 0 <= effective <= mechanism.noise_multiplier
    if mechanism.bits < 30:
        finer = dataclasses.replace(mechanism, bits=mechanism.bits + 1)
        assert finer.effective_noise_multiplier() >= effective
    half = math.ceil(mechanism.expected_clients / 2)
    fewer = mechanism.effective_noise_multiplier(half)
    share = math.sqrt(half / mechanism.expected_clients)
    if mechanism.local_stddev > 3:
        # Then only rounding counts.
        assert fewer == pytest.approx(effective * share, rel=1e-3)
    more = 2 * mechanism.expected_clients
    assert mechanism.effective_noise_multiplier(more) == effective


def test_the_effective_noise_in_closed_form():
    # One client's noise is a discrete Gaussian: there is no tau.
    alone = Mechanism(1.0, 1.0, 100, 1, bits=8)
    assert tau(alone.local_stddev, 1) == 0
    assert alone.effective_noise_multiplier() == pytest.approx(
        alone.local_stddev / alone.norm_bound
    )
    assert alone.effective_noise_multiplier() < 0.98
    # Two, and three.
    assert tau(0.6, 2) == pytest.approx(10 * math.exp(-(math.pi**2) * 0.36))
    assert tau(0.6, 3) == pytest.approx(
        10 * math.exp(-(math.pi**2) * 0.36)
        + 10 * math.exp(-(math.pi**2) * 0.36 * 4 / 3)
    )
    # Each of the three terms of proposition 14 where it is the least.
    off = tau(0.75, 2)
    ratio = 1 / (math.sqrt(2) * 0.75)
    assert concentrated_epsilon(100.0, 1e9, 0.75, 1, 2) == pytest.approx(
        min(100 * ratio + off, math.hypot(100 * ratio, math.sqrt(2 * off)))
    )
    assert concentrated_epsilon(1.0, 1.0, 0.75, 10**4, 2) == pytest.approx(
        math.sqrt(ratio**2 + 2 * ratio * off + 1e4 * off**2)
    )
    assert concentrated_epsilon(0.001, 100.0, 0.75, 4, 2) == pytest.approx(
        0.001 * ratio + 2 * off
    )


def divergence(stddev, clients, shift, order):
    """Renyi's, of the exact law of a sum from itself shifted."""
    law = law_of(stddev, 80)
    total = law
    for _ in range(clients - 1):
        total = np.convolve(total, law)
    p, q = total[:-shift], total[shift:]
    # Where float64 has room for both.
    inside = (p > 1e-290) & (q > 1e-290)
    logs = order * np.log(p[inside]) + (1 - order) * np.log(q[inside])
    return special.logsumexp(logs) / (order - 1)


def test_the_bound_holds_for_the_exact_law_of_a_sum():
    exceeded = 0
    for stddev, clients, shift, order in itertools.product(
        (0.5, 0.6, 0.8, 1.0, 2.0), (1, 2, 3, 6), (1, 2, 3), (1.1, 2, 5, 12)
    ):
        of_sum = stddev * math.sqrt(clients)
        if order * shift > 25 * of_sum:
            # It lies where float64 has no room.
            continue
        epsilon = concentrated_epsilon(shift, shift, stddev, 1, clients)
        found = divergence(stddev, clients, shift, order)
        assert found <= order / 2 * epsilon**2 * (1 + 1e-9)
        of_gaussian = order / 2 * (shift / of_sum) ** 2
        exceeded += found > of_gaussian * 1.001
        if stddev == 2.0:
            # Then the bound is not far, either.
            assert found == pytest.approx(of_gaussian, rel=1e-6)
    # So tau is needed.
    assert exceeded


@pytest.mark.parametrize(
    "setting",
    [
        Mechanism(1.0, 1.0, 199_210, 50, bits=6),
        Mechanism(0.01, 1.0, 10, 1000, bits=9),
        # The sum of the roundings alone.
        Mechanism(0.0, 1.0, 10, 1000, bits=5),
    ],
)
def test_too_few_bits_are_refused_and_the_right_number_named(setting):
    with pytest.raises(ValueError, match=r"at least \d+ are needed") as refused:
        setting.check()
    needed = int(str(refused.value).split("at least ")[1].split()[0])
    dataclasses.replace(setting, bits=needed).check()
    with pytest.raises(ValueError, match=f"at least {needed} are needed"):
        dataclasses.replace(setting, bits=needed - 1).check()
    factory = DistributedDpMeanFactory(
        setting.bound,
        setting.noise_multiplier,
        setting.expected_clients,
        KEY,
        setting.bits,
    )
    with pytest.raises(ValueError, match="are too few"):
        factory.create(vector_type(setting.dimension))


def test_a_setting_that_no_bits_are_enough_for_is_refused():
    with pytest.raises(ValueError, match="not even 30 would do"):
        Mechanism(1e-9, 1.0, 10, 1000).check()


@pytest.mark.parametrize(
    "wrong",
    [
        {"noise_multiplier": -1.0},
        {"noise_multiplier": math.nan},
        {"bound": 0.0},
        {"dimension": 0},
        {"expected_clients": 0},
        {"bits": 31},
        {"beta": 1.0},
        {"modular_clips": 0.0},
    ],
)
def test_numbers_out_of_range_are_refused(wrong):
    with pytest.raises(ValueError, match=f"{next(iter(wrong))}="):
        dataclasses.replace(Mechanism(1.0, 1.0, 10, 10), **wrong)
