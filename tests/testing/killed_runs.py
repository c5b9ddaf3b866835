"""Runs that are killed or fed faults, and all that must come of them."""

import hashlib
import json
import os
import shutil

import numpy as np

from tests.testing import own_algorithm
from tests.testing.scripts import rows_of
from tff_pipeline import registry
from tff_pipeline.config import (
    AggregationConfig,
    AlgorithmConfig,
    ClientConfig,
    DataConfig,
    DeviceConfig,
    ExperimentConfig,
    OptimizerConfig,
    PrivacyConfig,
    RunConfig,
    ServerConfig,
)
from tff_pipeline.runs import round_log

ROUNDS, EVERY, KEPT = 15, 3, 2
SECRET = "0123456789abcdef" * 2 + "\n"
# Momentum on both sides and dropout in either; the clip adapts in one, the
# other has tree noise of a secret that lies in its folder. In the third,
# which is not private, clients keep their momentum, and the best round is
# saved as soon as it is known.
AGGREGATORS = {
    "adaptive": "dp_gaussian_adaptive",
    "tree": "dp_tree",
    "kept": "mean",
}
# By Renyi divergences, for that is quick.
_ACCOUNT = {"dp_delta": 1e-3, "dp_accountant": "rdp"}
RUNS = {
    "adaptive": {
        **_ACCOUNT,
        "dp_noise_multiplier": 0.5,
        "dp_count_stddev": 1.0,
        "dp_noise_seed": 1,
    },
    "tree": {**_ACCOUNT, "dp_clip": 0.5, "dp_noise_multiplier": 0.5},
    "kept": {},
}


# Runs of every algorithm, by its name; plain SGD, which suits all.
ALGORITHMS = tuple(registry.ALGORITHMS)
own_algorithm.register()


def algorithm_config(name, path):
    """A run of an algorithm, with lost clients and uneven devices."""
    return ExperimentConfig(
        data=DataConfig("digits_2nn", partition="dirichlet", num_clients=8),
        clients=ClientConfig(
            clients_per_round=4,
            batch_size=16,
            optimizer=OptimizerConfig("client", "sgd", 0.05),
        ),
        algorithm=AlgorithmConfig(name),
        devices=DeviceConfig(speeds="lognormal", dropout=0.2),
        run=RunConfig(
            output_dir=str(path),
            total_rounds=ROUNDS,
            rounds_per_checkpoint=EVERY,
            rounds_per_eval=EVERY,
            keep_checkpoints=KEPT,
        ),
    )


def config_of(name, path):
    if name in ALGORITHMS:
        return algorithm_config(name, path)
    chooses = name == "kept"

    def momentum(side):
        return OptimizerConfig(side, "momentum", 0.1)

    return ExperimentConfig(
        data=DataConfig(
            "digits_2nn",
            partition="iid",
            num_clients=12,
            model_fn="tests.testing.fault_injection:model_fn",
            validation_fraction=0.1 if chooses else None,
        ),
        clients=ClientConfig(
            clients_per_round=4, batch_size=16, optimizer=momentum("client")
        ),
        server=ServerConfig(momentum("server")),
        algorithm=AlgorithmConfig(
            "kept_momentum" if name == "kept" else "fed_avg"
        ),
        aggregation=AggregationConfig(AGGREGATORS[name]),
        privacy=PrivacyConfig(
            **RUNS[name],
        ),
        run=RunConfig(
            output_dir=str(path),
            total_rounds=ROUNDS,
            rounds_per_checkpoint=EVERY,
            rounds_per_eval=2 if chooses else EVERY,
            keep_checkpoints=KEPT,
            target_metric="loss" if chooses else None,
            patience=ROUNDS if chooses else None,
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
        "kept": _kept(path / "checkpoints", folder),
        "ledger": content["notes"].get("privacy"),
        "best": content["notes"].get("best"),
        "metrics": rows_of(path),
        "log": log,
        "statement": _statement(path / "privacy.json"),
        "checkpoints": _newest(sorted(os.listdir(path / "checkpoints"))),
        "rest": sorted(set(os.listdir(path)) - {"noise_secret"}),
    }


def _newest(names):
    """The newest checkpoints, and all else that is there.

    Who is killed before the last one that is too old was removed leaves it.
    """
    saved = [name for name in names if name.startswith("round_")]
    return [*saved[-KEPT:], *(name for name in names if name not in saved)]


def _kept(checkpoints, folder):
    """The index of what clients keep, whose rows are there and whole.

    Rows of older rounds may be there too: what still lives refers to them.
    """
    if not (folder / "kept.npz").exists():
        return None
    with np.load(folder / "kept.npz") as index:
        digests = [row.tobytes().hex() for row in index["row_digests"]]
    for digest in digests:
        content = (checkpoints / "kept_rows" / f"{digest}.row").read_bytes()
        assert hashlib.sha256(content).hexdigest() == digest
    return digests


def _statement(path):
    """The privacy statement, but for the folder's name and the day."""
    if not path.exists():
        return None
    stated = json.loads(path.read_text())
    return {k: v for k, v in stated.items() if k not in ("run", "date")}
