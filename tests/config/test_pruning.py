"""What of pruning is filled in, and what is refused before a run."""

import pytest

from tff_pipeline import errors
from tff_pipeline.algorithms import algorithm
from tff_pipeline.config import (
    AggregationConfig,
    AlgorithmConfig,
    CompressionConfig,
    ExperimentConfig,
    PrivacyConfig,
    PruningConfig,
    RunConfig,
)


def pruning_of(total=100, **options):
    return ExperimentConfig(
        run=RunConfig(total_rounds=total), pruning=PruningConfig(**options)
    ).pruning


@pytest.mark.parametrize(
    ("options", "begin", "end"),
    [
        ({}, 20, 60),
        ({"schedule": "once"}, 20, None),
        ({"begin_round": 70}, 70, 71),
        ({"end_round": 100}, 20, 100),
        ({"total": 2}, 1, 2),
    ],
)
def test_rounds_that_are_left_open_are_shares_of_all(options, begin, end):
    settled = pruning_of(to=0.9, **options)
    assert (settled.begin_round, settled.end_round) == (begin, end)


def test_an_experiment_without_it_has_no_such_flag():
    assert not [f for f in ExperimentConfig().flags() if f.startswith("prune")]


def test_a_settled_experiment_is_read_back_as_it_was():
    config = ExperimentConfig(pruning=PruningConfig(0.9, "once"))
    assert ExperimentConfig.from_json(config.to_json()) == config


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"to": 1.0}, "--prune_to=1.0: must be above 0 and below 1"),
        ({"schedule": "once"}, "--prune_schedule=once .*without --prune_to"),
        ({"begin_round": 3}, "--prune_begin_round=3 .*without --prune_to"),
        (
            {"to": 0.9, "schedule": "once", "end_round": 9},
            "--prune_end_round=9 .*--prune_schedule=once",
        ),
        (
            {"to": 0.9, "begin_round": 9, "end_round": 9},
            "--prune_end_round=9 must be above --prune_begin_round=9",
        ),
        (
            {"to": 0.9, "end_round": 101},
            "--prune_to=0.9 .*round 101, and --total_rounds=100",
        ),
        (
            {"to": 0.9, "begin_round": 101, "schedule": "once"},
            "round 101, and --total_rounds=100",
        ),
    ],
)
def test_what_cannot_be_meant_is_refused(options, sentence):
    with pytest.raises(errors.ConfigError, match=sentence):
        pruning_of(**options)


@pytest.mark.parametrize(
    ("groups", "sentence"),
    [
        ({"compression": CompressionConfig("drive")}, "--compression=drive"),
        (
            {"compression": CompressionConfig(down="drive")},
            "--compression_down=drive",
        ),
        (
            {
                "aggregation": AggregationConfig("dp_gaussian"),
                "privacy": PrivacyConfig(
                    dp_noise_multiplier=1.0, dp_clip=1.0, audit_canaries=10
                ),
            },
            "--audit_canaries=10",
        ),
    ],
)
def test_what_it_is_not_combined_with_is_refused(groups, sentence):
    with pytest.raises(
        errors.ConfigError, match=f"--prune_to=0.9 is not used .*{sentence}"
    ):
        ExperimentConfig(pruning=PruningConfig(0.9), **groups)


@pytest.mark.parametrize(
    "name",
    [
        *("ditto", "fed_buff", "fed_dyn", "fed_nova", "fed_per", "fed_recon"),
        *("fed_rep", "fine_tune", "gossip", "ifca", "mime", "mime_lite"),
        "scaffold",
    ],
)
def test_algorithms_that_it_is_not_for_are_refused(name):
    config = ExperimentConfig(
        algorithm=AlgorithmConfig(name), pruning=PruningConfig(0.9)
    )
    with pytest.raises(
        errors.ConfigError, match=f"--prune_to=0.9 .*--algorithm={name}: "
    ):
        algorithm.check(config)


@pytest.mark.parametrize("name", ["fed_avg", "fed_prox", "fed_sgd"])
def test_algorithms_that_it_is_for_are_taken(name):
    config = ExperimentConfig(
        algorithm=AlgorithmConfig(name), pruning=PruningConfig(0.9)
    )
    algorithm.check(config)
