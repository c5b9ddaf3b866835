"""Runs with compression: goes on to the bit, counts bytes, refuses in words."""

import csv

import numpy as np
import pytest
import tensorflow as tf

from tests.testing import overflowing
from tests.testing.soaked import soaked
from tff_pipeline import errors, experiment, registry
from tff_pipeline.algorithms import algorithm
from tff_pipeline.assembly.privacy import Protection
from tff_pipeline.assembly.process import build_algorithm
from tff_pipeline.assembly.task import initial_weights, load_described_task
from tff_pipeline.cohorts.source import CohortSource
from tff_pipeline.commands import verify
from tff_pipeline.config import (
    AggregationConfig,
    AlgorithmConfig,
    ClientConfig,
    CompressionConfig,
    DeviceConfig,
    ExperimentConfig,
    OptimizerConfig,
    PrivacyConfig,
    RunConfig,
)
from tff_pipeline.config.compression import LINEAR
from tff_pipeline.config.data import DataConfig
from tff_pipeline.runs import round_log
from tff_pipeline.runs.checkpoint import CheckpointStore
from tff_pipeline.runs.kept_states import KeptStates
from tff_pipeline.runtime.in_process import InProcessContext

# digits_2nn has 55,210 weights, in 14 blocks of 4,096 numbers, and a number of
# the model goes with it.
WHOLE = 4 * 55_210
# Those that make bytes; linear ones are steps of the aggregation.
CODES = sorted(set(registry.COMPRESSORS) - set(LINEAR))


def config_of(path, rounds, compression, name="fed_avg", **groups):
    return ExperimentConfig(
        data=DataConfig("digits_2nn", partition="iid", num_clients=6),
        algorithm=AlgorithmConfig(name),
        clients=ClientConfig(
            clients_per_round=4,
            batch_size=16,
            optimizer=OptimizerConfig("client", "sgd", 0.1),
        ),
        run=RunConfig(
            output_dir=str(path),
            total_rounds=rounds,
            rounds_per_checkpoint=2,
            rounds_per_eval=4,
            sinks="csv",
            finishers="none",
        ),
        compression=compression,
        **groups,
    )


def end(path):
    """What a run ended with: the server's state and what clients keep."""
    store = CheckpointStore(str(path / "checkpoints"))
    folder = store.path(store.newest())
    files = ("state.npz", "kept.npz")
    return [open(f"{folder}/{name}", "rb").read() for name in files]


def rows_of(path):
    with open(path / "metrics.csv", newline="") as file:
        return list(csv.DictReader(file))


@pytest.mark.parametrize(
    ("up", "down", "name"),
    [
        ("power_sgd", "uniform", "fed_avg"),
        *[
            pytest.param(*case, marks=pytest.mark.soak)
            for case in (
                ("top_k", "drive", "fed_avg"),
                ("ef_sign", "top_k", "ditto"),
                ("random_k", None, "fed_buff"),
                ("uniform", "power_sgd", "fed_per"),
            )
        ],
    ],
)
def test_memories_are_in_the_checkpoint_and_a_run_goes_on_to_the_bit(
    tmp_path, up, down, name
):
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    code = CompressionConfig(up, down=down)
    done = experiment.run(config_of(whole, 8, code, name))
    assert done.evaluation["accuracy"] > 0.3
    experiment.run(config_of(parts, 4, code, name))
    experiment.run(config_of(parts, 8, code, name))
    assert end(parts) == end(whole)
    assert [each["bytes_up"] for each in rows_of(parts)] == [
        each["bytes_up"] for each in rows_of(whole)
    ]
    assert all(finding.holds for finding in verify.verify(str(parts)))


def test_bytes_are_those_of_the_payloads(tmp_path):
    said = []
    code = CompressionConfig("uniform", bits=2, down="uniform")
    experiment.run(config_of(tmp_path, 3, code), announce=said.append)
    payload = 8 + 14 * 8 + 14 * 4096 * 2 // 8
    rows = rows_of(tmp_path)
    assert {row["bytes_up"] for row in rows} == {str(payload + 4)}
    assert rows[0]["bytes_down"] == str(WHOLE + 4)
    for row in rows[1:]:
        # Of four of six clients, two at least were there before.
        held = (WHOLE + 4 - float(row["bytes_down"])) * 4 / (WHOLE - payload)
        assert held == pytest.approx(round(held), abs=1e-3)
        assert 2 <= round(held) <= 4
    leaves = next(line for line in said if line.startswith("What leaves"))
    assert leaves.endswith(
        "1. as bytes, rotated and rounded at random to 4 uniform levels "
        f"(about {payload + 4:,} bytes)"
    )
    assert any(line.startswith("What reaches a client") for line in said)


def test_updates_that_overflow_the_mean_stay_out_of_the_memories(tmp_path):
    overflowing.register()
    code = CompressionConfig("top_k", fraction=0.5)
    experiment.run(config_of(tmp_path, 4, code, "overflowing"))
    records = [
        record.content
        for record in round_log.read(str(tmp_path / "rounds.jsonl"))
        if record.content["kind"] == "round"
    ]
    refused = [r["metrics"]["rejected_update"] for r in records]
    assert refused == [0, 0, 1, 0]
    kept = [record["kept_state"] for record in records]
    assert kept[1] == kept[2]
    assert len(set(kept)) == 3


def test_late_updates_are_in_the_memories_of_their_clients(tmp_path):
    """Of six clients four are needed; the others have all that they sent."""
    config = config_of(
        tmp_path,
        1,
        CompressionConfig("top_k", fraction=0.1, down="uniform"),
        devices=DeviceConfig(speeds="lognormal", over_selection=1.5),
    )
    experiment.run(config)
    task, _ = load_described_task(config)
    built = build_algorithm(config, task, Protection())
    source = CohortSource(config, task).with_traffic(
        built.bytes_down, built.bytes_up
    )
    cohort = source.with_late().cohort(1)
    assert (len(cohort.client_ids), len(cohort.late_ids)) == (4, 2)
    assert not source.cohort(1).late
    with InProcessContext():
        first = built.initial_state(initial_weights(task, config.run.seed))
        nothing = [built.initial_kept_state] * 2
        expected = built.put_back(first, cohort.late, nothing)
    folder = str(tmp_path / "checkpoints")
    kept = KeptStates(folder, built.initial_kept_state)
    identity = config.flags(identity_only=True)
    kept = CheckpointStore(folder, config=identity).load_all(1, first, kept)[2]
    assert kept.client_ids == sorted([*cohort.client_ids, *cohort.late_ids])
    for row, same in zip(kept.rows(cohort.late_ids), expected):
        tf.nest.map_structure(np.testing.assert_array_equal, row, same)
    # A tenth of an update is missing where it was sent and counted.
    empty = {
        each: sum(
            np.count_nonzero(leaf == 0) for leaf in row["compression"]["memory"]
        )
        for each, row in zip(kept.client_ids, kept.rows(kept.client_ids))
    }
    for each in cohort.client_ids:
        assert empty[each] >= 5_521 + max(empty[i] for i in cohort.late_ids) / 2


@pytest.mark.parametrize("name", soaked(*CODES))
def test_every_code_learns_within_clients_privacy(name, tmp_path):
    config = config_of(
        tmp_path,
        6,
        CompressionConfig(name),
        aggregation=AggregationConfig("dp_gaussian"),
        privacy=PrivacyConfig(dp_noise_multiplier=0.1, dp_clip=1.0),
    )
    done = experiment.run(config)
    assert done.evaluation["accuracy"] > 0.2
    # How long a payload is may depend on what a client has.
    assert "bytes_up" not in rows_of(tmp_path)[0]
    assert float(rows_of(tmp_path)[0]["bytes_down"]) == WHOLE


@pytest.mark.parametrize(
    "name",
    ["scaffold", "mime", "mime_lite", "fed_nova", "fed_dyn", "ifca", "gossip"],
)
@pytest.mark.parametrize("side", ["name", "down"])
def test_algorithms_that_it_is_not_for_are_refused_in_a_sentence(
    name, side, tmp_path
):
    config = config_of(
        tmp_path, 4, CompressionConfig(**{side: "uniform"}), name
    )
    flag = "compression" if side == "name" else "compression_down"
    with pytest.raises(
        errors.ConfigError, match=f"--{flag}=uniform .*--algorithm={name}: "
    ):
        algorithm.check(config)


def test_fed_buff_has_no_model_before(tmp_path):
    config = config_of(
        tmp_path, 4, CompressionConfig(down="uniform"), "fed_buff"
    )
    with pytest.raises(errors.ConfigError, match="--compression_down=uniform"):
        algorithm.check(config)


@pytest.mark.parametrize(
    ("groups", "sentence"),
    [
        (
            {
                "aggregation": AggregationConfig("dp_gaussian"),
                "privacy": PrivacyConfig(
                    dp_noise_multiplier=1.0, dp_clip=1.0, audit_canaries=10
                ),
            },
            "--compression=qsgd .*--audit_canaries=10",
        ),
        (
            {"run": RunConfig(runtime="local")},
            "--compression_entropy=elias_gamma .*--runtime=local",
        ),
    ],
)
def test_what_it_is_not_combined_with_is_refused(groups, sentence):
    code = CompressionConfig("qsgd", entropy="elias_gamma")
    with pytest.raises(errors.ConfigError, match=sentence):
        ExperimentConfig(compression=code, **groups)


def test_what_the_server_only_sums_up_must_add_up(tmp_path):
    config = config_of(
        tmp_path,
        4,
        CompressionConfig("qsgd"),
        aggregation=AggregationConfig("dp_distributed"),
        privacy=PrivacyConfig(
            dp_noise_multiplier=1.0, dp_clip=1.0, dp_delta=1e-5
        ),
    )
    with pytest.raises(
        errors.ConfigError, match=r"--compression=qsgd .*do not add up"
    ):
        experiment.run(config)
