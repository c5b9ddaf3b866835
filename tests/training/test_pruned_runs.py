"""Runs with pruning: zeros in the export, go on to the bit, refuse in words."""

import csv
import json

import numpy as np
import pytest
import tensorflow as tf

from tests.testing import overflowing
from tests.testing.soaked import soaked
from tff_pipeline import errors, experiment
from tff_pipeline.commands import verify
from tff_pipeline.config import (
    AggregationConfig,
    AlgorithmConfig,
    ClientConfig,
    DataConfig,
    ExperimentConfig,
    OptimizerConfig,
    PrivacyConfig,
    PruningConfig,
    RunConfig,
)
from tff_pipeline.runs import round_log
from tff_pipeline.runs.checkpoint import CheckpointStore

# digits_2nn has 55,210 weights, 410 of them biases.
WEIGHTS, BIASES = 55_210, 410


def config_of(path, rounds, name="fed_avg", run=(), **groups):
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
            **{"finishers": "none", **dict(run)},
        ),
        pruning=PruningConfig(0.9, begin_round=1, end_round=4),
        **groups,
    )


def end(path):
    """The server's state that a run ended with."""
    store = CheckpointStore(str(path / "checkpoints"))
    with open(f"{store.path(store.newest())}/state.npz", "rb") as file:
        return file.read()


def rows_of(path):
    with open(path / "metrics.csv", newline="") as file:
        return list(csv.DictReader(file))


@pytest.mark.parametrize("name", ["fed_avg", *soaked("fed_prox", "fed_sgd")])
def test_the_mask_is_in_the_checkpoint_and_a_run_goes_on_to_the_bit(
    tmp_path, name
):
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    experiment.run(config_of(whole, 6, name, {"finishers": "export"}))
    for rounds in (4, 6):
        experiment.run(config_of(parts, rounds, name))
    assert end(parts) == end(whole)
    keys = ("sparsity", "bytes_up", "bytes_down", "eval_loss")
    assert [[row[key] for key in keys] for row in rows_of(parts)] == [
        [row[key] for key in keys] for row in rows_of(whole)
    ]
    assert all(finding.holds for finding in verify.verify(str(parts)))
    last = rows_of(whole)[-1]
    assert float(last["sparsity"]) == pytest.approx(0.9, abs=1e-4)
    kept = BIASES + round((WEIGHTS - BIASES) * (1 - float(last["sparsity"])))
    assert float(last["bytes_up"]) == 4 + 4 * kept
    # A bit a weight, a byte, and the number of the model.
    assert float(last["bytes_down"]) == 4 * kept + (WEIGHTS + 7) // 8 + 1
    exported = tf.saved_model.load(str(whole / "saved_model"))
    kernels = [v.numpy() for v in exported.variables if len(v.shape) > 1]
    assert sum(map(np.count_nonzero, kernels)) == kept - BIASES
    extra = whole / "saved_model" / "assets.extra"
    card = json.loads((extra / "model_card.json").read_text())
    total = WEIGHTS - BIASES
    assert card["pruned"] == {
        "zeros": total - (kept - BIASES),
        "weights": total,
    }
    assert "(90.0%) were pruned" in (extra / "model_card.md").read_text()


def test_a_refused_round_leaves_the_mask_as_it_was(tmp_path):
    overflowing.register()
    experiment.run(config_of(tmp_path, 6, "overflowing"))
    found = [
        record.content["metrics"]
        for record in round_log.read(str(tmp_path / "rounds.jsonl"))
        if record.content["kind"] == "round"
    ]
    assert [each["rejected_update"] for each in found] == [0, 0, 1, 0, 0, 0]
    sparsities = [each["sparsity"] for each in found]
    assert sparsities[2] == sparsities[1] < sparsities[3]
    # The schedule counts the rounds that changed the model.
    assert sparsities[4] == sparsities[5] == pytest.approx(0.9, abs=1e-4)


@pytest.mark.parametrize(
    "groups",
    [
        {"aggregation": AggregationConfig("median")},
        *soaked(
            {
                "aggregation": AggregationConfig("dp_gaussian"),
                "privacy": PrivacyConfig(
                    dp_noise_multiplier=0.1, dp_clip=1.0, dp_delta=1e-5
                ),
            },
            {"run": {"runtime": "local"}},
        ),
    ],
    ids=["rule", "noise", "worker"],
)
def test_it_goes_with_rules_noise_and_the_other_runtime(groups, tmp_path):
    done = experiment.run(config_of(tmp_path, 5, **groups))
    assert done.evaluation["accuracy"] > 0.3
    last = rows_of(tmp_path)[-1]
    assert float(last["sparsity"]) == pytest.approx(0.9, abs=1e-4)


@pytest.mark.parametrize(
    ("groups", "sentence"),
    [
        (
            {
                "aggregation": AggregationConfig(
                    "secure_mean", secure_mean_max_weight=400
                )
            },
            "--aggregator=secure_mean: .*whose length is fixed",
        ),
    ],
)
def test_what_the_server_only_sums_up_is_refused(groups, sentence, tmp_path):
    with pytest.raises(
        errors.ConfigError, match=f"--prune_to=0.9 .*{sentence}"
    ):
        experiment.run(config_of(tmp_path, 5, **groups))
