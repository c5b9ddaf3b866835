"""Runs that are killed or fed faults, and all that must come of them."""

import json
import os
import shutil

from tests.testing.scripts import rows_of
from tff_pipeline.config import (
    AggregationConfig,
    ClientConfig,
    DataConfig,
    ExperimentConfig,
    OptimizerConfig,
    PrivacyConfig,
    RunConfig,
    ServerConfig,
)
from tff_pipeline.runs import round_log

ROUNDS, EVERY = 30, 5
SECRET = "0123456789abcdef" * 2 + "\n"
# Momentum on both sides and dropout in either; the clip adapts in one, the
# other has tree noise of a secret that lies in its folder.
AGGREGATORS = {"adaptive": "dp_gaussian_adaptive", "tree": "dp_tree"}
RUNS = {
    "adaptive": {
        "dp_noise_multiplier": 0.5,
        "dp_count_stddev": 1.0,
        "dp_noise_seed": 1,
    },
    "tree": {"dp_clip": 0.5, "dp_noise_multiplier": 0.5},
}


def config_of(name, path):
    def momentum(side):
        return OptimizerConfig(side, "momentum", 0.1)

    return ExperimentConfig(
        data=DataConfig(
            "digits_2nn",
            partition="iid",
            num_clients=12,
            model_fn="tests.testing.fault_injection:model_fn",
        ),
        clients=ClientConfig(
            clients_per_round=4, batch_size=16, optimizer=momentum("client")
        ),
        server=ServerConfig(momentum("server")),
        # By Renyi divergences, for that is quick.
        aggregation=AggregationConfig(AGGREGATORS[name]),
        privacy=PrivacyConfig(dp_delta=1e-3, dp_accountant="rdp", **RUNS[name]),
        run=RunConfig(
            output_dir=str(path),
            total_rounds=ROUNDS,
            rounds_per_checkpoint=EVERY,
            rounds_per_eval=EVERY,
            keep_checkpoints=2,
        ),
    )


def begin(name, path):
    """An empty run directory, with the secret where one is used."""
    shutil.rmtree(path, ignore_errors=True)
    path.mkdir(parents=True)
    if name == "tree":
        (path / "noise_secret").write_text(SECRET)
    return config_of(name, path)


def papers(path):
    """All that must be the same whatever happened: weights, metrics, ledger."""
    folder = path / "checkpoints" / f"round_{ROUNDS:06d}"
    content = json.loads((folder / "manifest.json").read_text())["content"]
    log = [
        dict(record.content)
        for record in round_log.read(str(path / "rounds.jsonl"))
        if record.content["kind"] == "round"
    ]
    return {
        "state": (folder / "state.npz").read_bytes(),
        "ledger": content["notes"]["privacy"],
        "metrics": rows_of(path),
        "log": log,
        "statement": (path / "privacy.json").read_text(),
        "checkpoints": sorted(os.listdir(path / "checkpoints")),
        "rest": sorted(set(os.listdir(path)) - {"noise_secret"}),
    }
