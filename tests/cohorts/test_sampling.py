"""Cohorts and their randomness: functions of the seed, fair, and pinned."""

import itertools
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tff_pipeline import errors, randomness
from tff_pipeline.cohorts.samplers import (
    PoissonSampler,
    SeparatedSampler,
    ShuffledSampler,
    UniformSampler,
)

CLIENTS = [f"client_{i:02d}" for i in range(100)]
SEEDS = st.integers(0, 2**32 - 1)
ROUNDS = st.integers(1, 2**31)

# What a change of the stream would change: every published run.
FIRST_COHORT_OF_SEED_0 = [
    "client_20",
    "client_99",
    "client_25",
    "client_24",
    "client_62",
    "client_53",
    "client_77",
    "client_83",
    "client_85",
    "client_46",
]
FIRST_DRAWS_OF_SEED_0 = [2522737656, 1147233600, 3558061302, 2141509768]


def draws(*arguments):
    return randomness.generator(*arguments).integers(2**32, size=4).tolist()


def test_the_first_cohort_of_seed_0_is_what_it_always_was():
    cohort = UniformSampler(CLIENTS, 10, seed=0).cohort(1)
    assert cohort == FIRST_COHORT_OF_SEED_0


def test_the_first_draws_of_seed_0_are_what_they_always_were():
    assert draws(0, "cohort", 1) == FIRST_DRAWS_OF_SEED_0


def test_another_process_draws_the_same():
    # Python's own hash() of a string would differ.
    code = (
        "from tff_pipeline import randomness\n"
        "draw = randomness.generator(7, 'order', 3, 5)\n"
        "print(draw.integers(2**32, size=4).tolist())\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == str(draws(7, "order", 3, 5))


@given(st.integers(1, 100), SEEDS, st.lists(ROUNDS, min_size=1, max_size=5))
def test_a_cohort_is_a_function_of_seed_and_round(size, seed, rounds):
    sampler = UniformSampler(CLIENTS, size, seed)
    cohorts = [sampler.cohort(number) for number in rounds]
    # A resumed run has a new sampler, and starts in the middle.
    for number, cohort in reversed(list(zip(rounds, cohorts))):
        assert UniformSampler(CLIENTS, size, seed).cohort(number) == cohort


@given(st.integers(1, 100), SEEDS, ROUNDS)
def test_a_cohort_has_its_size_and_no_client_twice(size, seed, number):
    cohort = UniformSampler(CLIENTS, size, seed).cohort(number)
    assert len(cohort) == len(set(cohort)) == size
    assert set(cohort) <= set(CLIENTS)


def test_rounds_differ():
    sampler = UniformSampler(CLIENTS, 10, seed=0)
    cohorts = {tuple(sampler.cohort(number)) for number in range(1, 201)}
    assert len(cohorts) == 200


def test_seeds_differ():
    cohorts = {
        tuple(UniformSampler(CLIENTS, 10, seed).cohort(1))
        for seed in range(200)
    }
    assert len(cohorts) == 200


def test_a_missing_counter_is_not_one_of_zero():
    assert draws(0, "cohort", 1) != draws(0, "cohort", 1, 0)


def test_purposes_and_counters_differ():
    keys = [
        (seed, purpose, *counters)
        for seed in (0, 1, 2)
        for purpose in ("cohort", "partition", "order")
        for counters in [(), (1,), (2,), (1, 1), (1, 2), (2, 1), (2, 2)]
    ]
    assert len({tuple(draws(*key)) for key in keys}) == len(keys)


def test_each_call_starts_its_generator_anew():
    draws(0, "cohort", 1)
    assert draws(0, "cohort", 1) == FIRST_DRAWS_OF_SEED_0


def test_every_client_is_drawn_about_equally_often():
    size, rounds = 10, 2000
    sampler = UniformSampler(CLIENTS, size, seed=0)
    drawn = [
        client
        for number in range(1, rounds + 1)
        for client in sampler.cohort(number)
    ]
    _, counts = np.unique(drawn, return_counts=True)
    expected = size * rounds / len(CLIENTS)
    assert counts.sum() == size * rounds
    statistic = ((counts - expected) ** 2 / expected).sum()
    # Mean 90, standard deviation 13: drawn without replacement, the 99
    # degrees of freedom count 1 - 1/10 each. Six deviations either way.
    assert 12 < statistic < 168


def test_every_place_in_a_cohort_is_drawn_about_equally():
    sampler = UniformSampler(["a", "b", "c"], 3, seed=0)
    orders = [tuple(sampler.cohort(number)) for number in range(1, 1201)]
    found, counts = np.unique(orders, axis=0, return_counts=True)
    assert len(found) == 6
    # 200 each, with a standard deviation of 13.
    assert (abs(counts - 200) < 6 * 13).all()


def test_a_cohort_may_be_the_whole_population():
    cohort = UniformSampler(CLIENTS, 100, seed=0).cohort(1)
    assert sorted(cohort) == CLIENTS


@pytest.mark.parametrize("population", [0, 1, 9])
def test_a_cohort_larger_than_the_population_is_refused(population):
    with pytest.raises(errors.ConfigError) as caught:
        UniformSampler(CLIENTS[:population], 10, seed=0)
    assert "--clients_per_round=10 " in str(caught.value)
    assert f"the {population} clients" in str(caught.value)


SAMPLERS = [UniformSampler, PoissonSampler, ShuffledSampler, SeparatedSampler]


@pytest.mark.parametrize("sampler", SAMPLERS)
@given(seed=SEEDS, number=ROUNDS)
def test_all_cohorts_are_functions_of_seed_and_round(sampler, seed, number):
    first = sampler(CLIENTS, 7, seed)
    first.cohort(1)
    cohort = first.cohort(number)
    assert cohort == sampler(CLIENTS, 7, seed).cohort(number)
    assert len(cohort) == len(set(cohort))
    assert set(cohort) <= set(CLIENTS)


def test_a_secret_of_128_bits_is_a_seed_too():
    cohorts = {
        tuple(UniformSampler(CLIENTS, 10, secret).cohort(1))
        for secret in (1, 1 + 2**32, 1 + 2**64, 1 + 2**127)
    }
    assert len(cohorts) == 4


def test_poisson_draws_every_client_on_its_own():
    rounds, size = 4000, 20
    sampler = PoissonSampler(CLIENTS, size, seed=0)
    drawn = np.zeros([rounds, len(CLIENTS)])
    for number in range(rounds):
        drawn[number, sampler.positions(number + 1)] = 1
    q = size / len(CLIENTS)
    # Counts of a client over rounds, and of a round over clients, are binomial.
    for counts, trials in ((drawn.sum(0), rounds), (drawn.sum(1), 100)):
        scale = np.sqrt(q * (1 - q) * trials)
        deviations = (counts - q * trials) / scale
        assert abs(deviations).max() < 6
        assert abs(deviations.var() - 1) < 0.8
    correlation = np.corrcoef(drawn, rowvar=False)
    off = correlation[~np.eye(len(CLIENTS), dtype=bool)]
    assert abs(off).max() < 6 / np.sqrt(rounds)


def test_poisson_may_draw_nobody():
    sampler = PoissonSampler(CLIENTS[:10], 1, seed=0)
    sizes = [len(sampler.cohort(number)) for number in range(1, 201)]
    # (9 / 10)^10 of the rounds, 35%.
    assert 40 < sizes.count(0) < 100


@given(st.integers(1, 100), SEEDS, st.integers(1, 50))
def test_shuffled_takes_everyone_once_an_epoch(size, seed, epoch):
    sampler = ShuffledSampler(CLIENTS, size, seed)
    rounds = -(-len(CLIENTS) // size)
    first = 1 + (epoch - 1) * rounds
    cohorts = [sampler.cohort(first + i) for i in range(rounds)]
    assert sorted(itertools.chain(*cohorts)) == CLIENTS
    assert all(len(cohort) == size for cohort in cohorts[:-1])


def test_shuffled_draws_another_order_every_epoch():
    sampler = ShuffledSampler(CLIENTS, 100, seed=0)
    assert len({tuple(sampler.cohort(i)) for i in range(1, 51)}) == 50


@given(st.integers(1, 20), st.integers(1, 5), SEEDS)
def test_separated_clients_wait(separation, size, seed):
    sampler = SeparatedSampler(CLIENTS, size, seed, separation)
    last: dict = {}
    for number in range(1, 4 * separation + 1):
        cohort = sampler.cohort(number)
        assert len(cohort) == size
        for client in cohort:
            assert number - last.get(client, -separation) >= separation
            last[client] = number


def test_separated_takes_everyone_in_the_end():
    sampler = SeparatedSampler(CLIENTS, 10, 0, 5)
    drawn = {c for number in range(1, 101) for c in sampler.cohort(number)}
    assert drawn == set(CLIENTS)
    assert SeparatedSampler(CLIENTS, 30, 0).min_separation == 3


def test_a_separation_that_needs_more_clients_is_refused():
    with pytest.raises(errors.ConfigError) as caught:
        SeparatedSampler(CLIENTS, 30, 0, 4)
    assert "--min_separation=4" in str(caught.value)
    assert "120" in str(caught.value)
