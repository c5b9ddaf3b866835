"""Runs with robust aggregators: states, drop-outs, refusals, NaN clients."""

import dataclasses
import json

import numpy as np
import pytest

from tests.testing.scripts import rows_of
from tff_pipeline import errors, experiment
from tff_pipeline.algorithms import algorithm
from tff_pipeline.assembly import process
from tff_pipeline.assembly.privacy import Protection
from tff_pipeline.assembly.task import initial_weights
from tff_pipeline.client_work.block import client_block
from tff_pipeline.commands import verify
from tff_pipeline.config import (
    AggregationConfig,
    AlgorithmConfig,
    ClientConfig,
    DataConfig,
    DeviceConfig,
    ExperimentConfig,
    OptimizerConfig,
    RunConfig,
)
from tff_pipeline.datasets.federation.federated_data import Examples
from tff_pipeline.runs.checkpoint import CheckpointStore
from tff_pipeline.runtime.in_process import InProcessContext


def config_of(path, aggregator, rounds=4, clients=8, **groups):
    options = {}
    if isinstance(aggregator, tuple):
        aggregator, options = aggregator
    return ExperimentConfig(
        **{
            "data": DataConfig("digits_2nn", num_clients=12),
            "aggregation": AggregationConfig(aggregator, **options),
            "clients": ClientConfig(
                clients_per_round=clients,
                batch_size=16,
                optimizer=OptimizerConfig("client", "sgd", 0.1),
            ),
            "run": RunConfig(
                output_dir=str(path),
                total_rounds=rounds,
                rounds_per_checkpoint=2,
                rounds_per_eval=2,
                sinks="csv",
                finishers="none",
            ),
            **groups,
        }
    )


def state_of(path):
    store = CheckpointStore(str(path / "checkpoints"))
    with open(f"{store.path(store.newest())}/state.npz", "rb") as file:
        bits = file.read()
    with np.load(f"{store.path(store.newest())}/state.npz") as arrays:
        return bits, {name: arrays[name] for name in arrays.files}


CENTERED = (
    "bucketing+centered_clipping",
    {"centered_clip_norm": 0.5, "byzantine_clients": 1},
)


def test_the_centre_is_in_the_checkpoint_and_a_run_goes_on_to_the_bit(tmp_path):
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    experiment.run(config_of(whole, CENTERED))
    experiment.run(config_of(parts, CENTERED, rounds=2))
    experiment.run(config_of(parts, CENTERED))
    assert state_of(parts)[0] == state_of(whole)[0]
    centre = [
        value
        for name, value in state_of(whole)[1].items()
        if "aggregator" in name
    ]
    assert len(centre) == 6 and all(np.any(each) for each in centre)
    # Without its centre the run would have ended elsewhere: it is no zero.
    assert "far_clients" in rows_of(whole)[0]
    assert all(finding.holds for finding in verify.verify(str(parts)))


def test_a_round_with_too_few_is_lost_by_policy_and_the_log_says_why(tmp_path):
    config = config_of(
        tmp_path,
        ("krum", {"byzantine_clients": 2}),
        rounds=6,
        clients=10,
        devices=DeviceConfig(dropout=0.3),
    )
    run = dataclasses.replace(
        config.run, on_failed_round="skip", max_consecutive_failures=6
    )
    config = dataclasses.replace(config, run=run)
    experiment.run(config)
    rows = rows_of(tmp_path)
    assert len(rows) == 6
    lost = {row["round"] for row in rows if int(row["clients"]) < 7}
    assert 0 < len(lost) < 6
    assert lost == {row["round"] for row in rows if int(row["rejected_update"])}
    events = [
        json.loads(line)
        for line in (tmp_path / "rounds.jsonl").read_text().splitlines()
    ]
    whys = [event["why"] for event in events if event.get("kind") == "failure"]
    assert len(whys) == len(lost)
    for why in whys:
        assert why.startswith("krum needs n >= 2f + 3 clients, here 7, and ")


def test_a_run_whose_rounds_are_all_lost_says_what_to_do(tmp_path):
    config = config_of(
        tmp_path,
        ("krum", {"byzantine_clients": 2}),
        clients=7,
        devices=DeviceConfig(dropout=0.4),
    )
    for run, says in (
        ({"on_failed_round": "stop"}, "Round 1 failed: krum needs"),
        (
            {"on_failed_round": "skip", "max_consecutive_failures": 2},
            "raise --clients_per_round or lower --byzantine_clients",
        ),
    ):
        path = tmp_path / run["on_failed_round"]
        run = dataclasses.replace(config.run, output_dir=str(path), **run)
        with pytest.raises(errors.TrainingError, match=says):
            experiment.run(dataclasses.replace(config, run=run))


@pytest.fixture(scope="module")
def numbers():
    """A task whose examples are floats."""
    data = DataConfig("synthetic_iid")
    return experiment.load_task(config_of("unused", "median", data=data))


@pytest.fixture(scope="module")
def task():
    return experiment.load_task(config_of("unused", "median"))


def test_a_client_that_is_not_finite_is_not_among_those_that_came(numbers):
    task, data = numbers, DataConfig("synthetic_iid")
    config = config_of("unused", ("krum", {"byzantine_clients": 1}), data=data)
    built = process.build_algorithm(config, task, Protection())

    def blocks(good, bad):
        data = task.train.load(task.train.client_ids[0])
        broken = Examples(data.x * np.float32("nan"), data.y)
        return [
            *(client_block(data, key, 1) for key in range(good)),
            *(client_block(broken, 100 + key, 1) for key in range(bad)),
        ]

    with InProcessContext():
        state = built.initial_state(initial_weights(task, 0))
        after, metrics, _ = built.run_round(state, blocks(5, 3), ())
        values = built.measure(metrics)
        assert values["rejected_clients"] == 3
        assert values["rejected_update"] == 0
        alone, _, _ = built.run_round(state, blocks(5, 0), ())
        for one, other in zip(
            built.model_weights(after).trainable,
            built.model_weights(alone).trainable,
        ):
            np.testing.assert_array_equal(one, other)
        # Eight are in the cohort, but four came.
        _, metrics, _ = built.run_round(state, blocks(4, 4), ())
        assert built.measure(metrics)["rejected_update"] == 1


@pytest.mark.parametrize(
    "aggregator, says",
    [
        (("krum", {"byzantine_clients": 3}), "needs 9 clients or more"),
        ("bulyan", "needs 11 clients or more"),
        (("trimmed_mean", {"byzantine_clients": 4}), "needs 9 clients or more"),
        (
            ("multi_krum", {"multi_krum_clients": 7}),
            "multi_krum needs n >= m \\+ f clients",
        ),
        ("bucketing+krum", "after buckets of 2"),
        (
            ("krum", {"byzantine_clients": 2**40}),
            "raise that, or lower --byzantine_clients",
        ),
    ],
)
def test_a_cohort_below_the_condition_is_refused_before_training(
    task, aggregator, says
):
    config = config_of("unused", aggregator)
    with pytest.raises(errors.ConfigError, match=says):
        process.build_algorithm(config, task, Protection())


def test_a_fifth_of_the_cohort_is_hostile_by_default():
    for clients, f in ((4, 1), (10, 2), (11, 3), (25, 5)):
        config = config_of(
            "unused", "median", clients=clients, data=DataConfig()
        )
        assert config.aggregation.byzantine_clients == f
        assert config.clients.weighting == "uniform"
        again = ExperimentConfig.from_json(config.to_json())
        assert again == config
    plain = config_of("unused", "mean")
    assert plain.aggregation.byzantine_clients is None
    assert plain.clients.weighting == "num_examples"


@pytest.mark.parametrize(
    "name, options, says",
    [
        ("mean", {"byzantine_clients": 1}, "is not used with --aggregator"),
        ("median", {"bucket_size": 2}, "is not used with --aggregator"),
        ("centered_clipping", {}, "needs --centered_clip_norm"),
        ("nnm+nnm+median", {}, "nnm stands there twice"),
        ("nnm+zeroing+median", {}, "put zeroing before them"),
        ("nnm+dp_gaussian", {}, "takes no steps before it"),
        ("median", {"byzantine_clients": -1}, "must be a whole number"),
        ("krum+mean", {}, "must be one of"),
    ],
)
def test_chains_that_make_no_sense_are_refused(name, options, says):
    with pytest.raises(errors.ConfigError, match=says):
        config_of("unused", (name, options))


@pytest.mark.parametrize("name", ["krum", "nnm+mean", "median"])
def test_weights_of_clients_own_saying_are_refused(name):
    config = config_of("unused", name)
    clients = dataclasses.replace(config.clients, weighting="num_examples")
    with pytest.raises(errors.ConfigError, match="that it has many examples"):
        dataclasses.replace(config, clients=clients)
    aggregation = AggregationConfig("geometric_median")
    asked = dataclasses.replace(
        config, clients=clients, aggregation=aggregation
    )
    assert asked.clients.weighting == "num_examples"


@pytest.mark.parametrize(
    "name, aggregator, refused",
    [
        ("scaffold", "median", "would be missing for ever"),
        ("fed_dyn", "krum", "would be missing for ever"),
        ("fed_buff", "trimmed_mean", "different ages"),
        ("fed_nova", "krum", "the number of steps"),
        ("fed_nova", "nnm+median", "the number of steps"),
        ("mime", "median", "mean of clients' gradients"),
        ("ifca", "median", "how many chose them"),
        ("gossip", "median", "no server"),
        ("fed_nova", "median", None),
        ("fed_prox", "krum", None),
        ("mime_lite", "krum", None),
        ("fed_per", "nnm+krum", None),
        ("ditto", "geometric_median", None),
    ],
)
def test_algorithms_allow_rules_that_make_sense(name, aggregator, refused):
    config = config_of("unused", aggregator, algorithm=AlgorithmConfig(name))
    if refused is None:
        algorithm.check(config)
    else:
        with pytest.raises(errors.ConfigError, match=refused):
            algorithm.check(config)


@pytest.mark.parametrize("name", ["fed_nova", "mime_lite", "ditto"])
def test_extras_and_kept_states_go_with_a_rule(name, tmp_path):
    config = config_of(
        tmp_path, "median", rounds=2, algorithm=AlgorithmConfig(name)
    )
    experiment.run(config)
    rows = rows_of(tmp_path)
    assert [row["rejected_update"] for row in rows] == ["0", "0"]
    assert float(rows[-1]["eval_accuracy"]) > 0.15
