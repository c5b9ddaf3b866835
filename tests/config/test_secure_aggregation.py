"""What of secure aggregation is refused before a run, and how it is said."""

import pytest

from tff_pipeline import errors
from tff_pipeline.config import (
    AggregationConfig,
    AlgorithmConfig,
    ClientConfig,
    ExperimentConfig,
    RunConfig,
    SecureAggregationConfig,
)


def experiment_of(
    clients=10,
    weighting="uniform",
    name="secure_mean",
    run=None,
    algorithm=None,
    secure=None,
    **options,
):
    return ExperimentConfig(
        clients=ClientConfig(clients_per_round=clients, weighting=weighting),
        aggregation=AggregationConfig(name, **options),
        run=run or RunConfig(),
        algorithm=algorithm or AlgorithmConfig(),
        secure_aggregation=secure or SecureAggregationConfig(),
    )


def bonawitz(**options):
    return SecureAggregationConfig("bonawitz", **options)


def test_what_goes_together_is_taken():
    config = experiment_of(secure=bonawitz(neighbours=4, threshold=4))
    assert config.aggregation.secure_mean_range == 1.0
    assert config.aggregation.secure_mean_bits == 20
    flags = config.flags()
    assert flags["secure_aggregation"] == "bonawitz"
    assert flags["secure_aggregation_neighbours"] == 4
    assert ExperimentConfig.from_json(config.to_json()) == config


@pytest.mark.parametrize(
    "options, sentence",
    [
        # More than half, and not above the cohort or the neighbourhood.
        ({"secure": bonawitz(threshold=5)}, "from 6 to 10"),
        ({"secure": bonawitz(threshold=11)}, "from 6 to 10"),
        ({"secure": bonawitz(threshold=2, neighbours=4)}, "from 3 to 5"),
        ({"secure": bonawitz(threshold=6, neighbours=4)}, "from 3 to 5"),
        ({"secure": bonawitz(threshold=5, neighbours=30)}, "from 6 to 10"),
        ({"secure": bonawitz(), "clients": 1}, "at least 2"),
        ({"secure": bonawitz(), "name": "mean"}, "no secure sum"),
        (
            {"secure": bonawitz(), "run": RunConfig(runtime="local")},
            "--runtime=local, whose sums are added in the open",
        ),
        (
            {"secure": bonawitz(), "algorithm": AlgorithmConfig("fed_buff")},
            "not there at the same time",
        ),
        # X5: 32 bits hold that many clients.
        ({"secure_mean_bits": 29}, "at most 28 do"),
        ({"secure_mean_bits": 20, "clients": 5000}, "at most 19 do"),
        ({"weighting": "num_examples"}, "needs --secure_mean_max_weight"),
        ({"secure_mean_max_weight": 3.0}, "every client weighs 1"),
    ],
)
def test_what_does_not_go_together_is_refused(options, sentence):
    with pytest.raises(errors.ConfigError, match=sentence):
        experiment_of(**options)


@pytest.mark.parametrize(
    "make, sentence",
    [
        (lambda: bonawitz(neighbours=3), "must be an even number"),
        (lambda: bonawitz(neighbours=0), "must be an even number"),
        (lambda: bonawitz(threshold=0), "--secure_aggregation_threshold=0"),
        (lambda: SecureAggregationConfig("lightsecagg"), "plain, bonawitz"),
        (
            lambda: SecureAggregationConfig("plain", threshold=3),
            "is not used with --secure_aggregation=plain",
        ),
        # X4: a clip of 0 or below.
        (
            lambda: AggregationConfig("secure_mean", secure_mean_range=0.0),
            "--secure_mean_range=0.0",
        ),
        (
            lambda: AggregationConfig("secure_mean", secure_mean_range=-3.0),
            "--secure_mean_range=-3.0",
        ),
        (
            lambda: AggregationConfig("secure_mean", secure_mean_bits=0),
            "--secure_mean_bits=0",
        ),
        (
            lambda: AggregationConfig("secure_mean", secure_mean_bits=1),
            "from 2 to 30",
        ),
        (
            lambda: AggregationConfig(
                "secure_mean", secure_mean_max_weight=0.0
            ),
            "--secure_mean_max_weight=0.0",
        ),
        (
            lambda: AggregationConfig("mean", secure_mean_bits=20),
            "is not used with --aggregator=mean",
        ),
    ],
)
def test_a_value_that_is_not_allowed_is_refused(make, sentence):
    with pytest.raises(errors.ConfigError, match=sentence):
        make()


def test_as_many_bits_as_fit_are_taken():
    assert experiment_of(clients=16, secure_mean_bits=28)
    assert experiment_of(clients=4, secure_mean_bits=30)
