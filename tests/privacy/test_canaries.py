"""The one-shot audit: it finds what is given away, and no more than that."""

import json
import math

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_federated as tff
from scipy import integrate, stats

from tests.testing.closed_forms import gaussian_delta
from tests.testing.hooked import sent_by
from tff_pipeline import experiment
from tff_pipeline.aggregators.private import dp_mean, noise
from tff_pipeline.aggregators.private.recorded import RecordedFactory
from tff_pipeline.cohorts.samplers import PoissonSampler
from tff_pipeline.config import (
    AggregationConfig,
    ClientConfig,
    ExperimentConfig,
    PrivacyConfig,
    RunConfig,
)
from tff_pipeline.config.data import DataConfig
from tff_pipeline.privacy import canaries, plan, statement
from tff_pipeline.runtime.in_process import InProcessContext

CANARIES, SIZE, ROUNDS, COHORT, CLIP = 100, 3000, 50, 25, 2.0
TYPE = tff.types.to_type([(np.float32, (SIZE,))])


@pytest.mark.parametrize("mean", [0.3, 1.0, 3.0])
@pytest.mark.parametrize("delta", [1e-2, 1e-5])
def test_epsilon_between_shifted_normals_is_the_gaussian_mechanisms(
    mean, delta
):
    found = canaries.epsilon_between(mean, 1.0, delta)
    assert gaussian_delta(1 / mean, found) == pytest.approx(delta, rel=1e-6)
    assert canaries.epsilon_between(-mean, 1.0, delta) == pytest.approx(found)


@pytest.mark.parametrize(
    ("mean", "stddev"), [(0.0, 2.0), (1.0, 0.5), (1.5, 1.3), (4.0, 3.0)]
)
def test_epsilon_between_normals_of_other_widths(mean, stddev):
    delta = 1e-3
    found = canaries.epsilon_between(mean, stddev, delta)
    p, q = stats.norm(mean, stddev), stats.norm()

    def beyond(one, other):
        def excess(x):
            return max(one.pdf(x) - math.exp(found) * other.pdf(x), 0.0)

        return integrate.quad(excess, -40, 40, limit=2000, points=[0, mean])[0]

    # The worse of the two directions holds delta exactly.
    assert max(beyond(p, q), beyond(q, p)) == pytest.approx(delta, rel=1e-2)


def test_nothing_between_what_is_the_same():
    assert canaries.epsilon_between(0.0, 1.0, 1e-5) == 0
    assert canaries.epsilon_between(1e-7, 1.0, 1e-5) == 0


def test_epsilon_ends_where_its_exponential_would_overflow():
    assert canaries.epsilon_between(1000.0, 1.0, 1e-5) == 512
    assert canaries.epsilon_between(40.0, 60.0, 1e-5) == 512
    assert 300 < canaries.epsilon_between(22.0, 1.0, 1e-5) < 512


def planned(multiplier=None, target=None):
    config = ExperimentConfig(
        clients=ClientConfig(clients_per_round=COHORT),
        aggregation=AggregationConfig("dp_gaussian"),
        privacy=PrivacyConfig(
            dp_noise_multiplier=multiplier,
            dp_target_epsilon=target,
            dp_clip=CLIP,
            dp_delta=1e-3,
            audit_canaries=CANARIES,
        ),
        run=RunConfig(total_rounds=ROUNDS),
    )
    return plan.make(config, CANARIES, SIZE, secret=11)


def audit(of, multiplier):
    """What canaries say after a run with this noise, whatever was planned."""
    factory = RecordedFactory(
        dp_mean.DpMeanFactory(
            CLIP, multiplier, COHORT, noise.FreshNoise(of.noise_key)
        )
    )
    hook = canaries.Canaries(of.canary_key)
    updates = [
        [
            sent_by(hook, [tf.zeros([SIZE])], tf.constant(key, tf.int64))[
                0
            ].numpy()
        ]
        for key in map(canaries.key_of, range(CANARIES))
    ]
    names = [str(number) for number in range(CANARIES)]
    sampler = PoissonSampler(names, COHORT, of.cohort_seed)
    with InProcessContext():
        process = factory.create(TYPE)
        state = process.initialize()
        for number in range(1, ROUNDS + 1):
            cohort = [updates[i] for i in sampler.positions(number)]
            state = process.next(state, cohort).state
    return canaries.audit(of, state["released"])


@pytest.fixture(scope="module")
def at_epsilon_2():
    return planned(target=2.0)


def test_without_noise_canaries_are_found_again():
    found = audit(planned(multiplier=0.0), 0.0)
    assert found["interval"][0] > 8


def test_at_epsilon_2_no_more_is_found(at_epsilon_2):
    of = at_epsilon_2
    found = audit(of, of.noise_multiplier)
    assert found["canaries"] == CANARIES
    low, high = found["interval"]
    assert low <= found["epsilon"] <= high
    assert low <= 2
    # And it is not blind: the mechanism's own is not much less than 2.
    assert high > 0.5
    said = statement.in_words(statement.content(of, ROUNDS, found))
    assert "something is broken" not in " ".join(said.split())


def test_noise_divided_by_10_is_caught(at_epsilon_2):
    of = at_epsilon_2
    found = audit(of, of.noise_multiplier / 10)
    assert found["interval"][0] > 2
    said = statement.in_words(statement.content(of, ROUNDS, found))
    assert "MORE than promised: something is broken" in " ".join(said.split())


def test_directions_that_took_no_part_are_not_found(at_epsilon_2):
    draw = np.random.default_rng(0)
    released = [draw.normal(size=(40, 50)).astype(np.float32)]
    of = canaries.Canaries(at_epsilon_2.canary_key)
    cosines = of.cosines(range(400), released)
    # Normal with variance 1 / dimension.
    statistic = np.sum(cosines**2) * 2000
    assert 1e-6 < stats.chi2(400).cdf(statistic) < 1 - 1e-6
    assert canaries.estimate(cosines, 2000, 1e-3).low < 0.3


def test_a_client_sends_its_own_update():
    of = canaries.Canaries(np.array([1, 2], np.int64))
    update = [tf.ones([3, 2]), tf.ones([5])]
    kept = sent_by(of, update, tf.constant(2**61, tf.int64))
    for a, b in zip(kept, update):
        np.testing.assert_array_equal(a, b)
    one, again, other = (
        sent_by(of, update, tf.constant(key, tf.int64)) for key in (-1, -1, -2)
    )
    np.testing.assert_array_equal(one[0], again[0])
    assert not np.array_equal(one[0], other[0])


@pytest.mark.soak
def test_a_run_with_canaries_states_what_they_found(tmp_path):
    experiment.run(
        ExperimentConfig(
            data=DataConfig("digits_2nn", partition="iid", num_clients=24),
            clients=ClientConfig(clients_per_round=12),
            aggregation=AggregationConfig("dp_gaussian"),
            privacy=PrivacyConfig(
                dp_clip=0.5,
                dp_noise_multiplier=0.05,
                dp_delta=1e-3,
                audit_canaries=20,
            ),
            run=RunConfig(output_dir=str(tmp_path), total_rounds=6),
        )
    )
    said = json.loads((tmp_path / "privacy.json").read_text())
    # Canaries are clients like others.
    assert said["population"] == 44
    found = said["audit"]
    assert found["canaries"] == 20
    # Hardly any noise: they are found.
    assert found["interval"][0] > 1
    assert "20 canaries" in (tmp_path / "privacy.txt").read_text()
    assert "eval_accuracy" in (tmp_path / "metrics.csv").read_text()
