"""Killed anywhere, a run that goes on ends with the bits of one that was not.

Processes that train for real, and SIGKILL: `tests.testing.fault_injection`.
"""

import collections
import json
import os
import random
import shutil
import signal

import pytest

from tests.conftest import rows_of, train_with_faults
from tff_pipeline.config import (
    ClientConfig,
    DataConfig,
    ExperimentConfig,
    OptimizerConfig,
    RunConfig,
    ServerConfig,
)
from tff_pipeline.config.aggregation import AggregatorConfig
from tff_pipeline.runs import round_log

SEED = 20261121
ROUNDS, EVERY = 30, 5
SECRET = "0123456789abcdef" * 2 + "\n"
# Kills of one run before it may end.
MOST_KILLS = 6

# Momentum on both sides and dropout in either; the clip adapts in one, the
# other has tree noise of a secret that lies in its folder.
RUNS = {
    "adaptive": {
        "name": "dp_gaussian_adaptive",
        "dp_noise_multiplier": 0.5,
        "dp_count_stddev": 1.0,
        "dp_noise_seed": 1,
    },
    "tree": {"name": "dp_tree", "dp_clip": 0.5, "dp_noise_multiplier": 0.5},
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
        aggregator=AggregatorConfig(
            dp_delta=1e-3, dp_accountant="rdp", **RUNS[name]
        ),
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


def lost_rounds(path):
    """Rounds that were recorded and must be run again."""
    try:
        recorded = len(rows_of(path))
        saved = [
            int(name[len("round_") :])
            for name in os.listdir(path / "checkpoints")
            if name.startswith("round_")
        ]
    except FileNotFoundError:
        return 0
    return recorded - max(saved, default=0)


def kills(draw, steps, seconds):
    """What kills a process: a step of the file layer, or a moment."""
    if draw.random() < 0.25:
        return {"kill_after": draw.random() * seconds}
    how = draw.choice(["before", "half"])
    return {"kill_at": draw.randint(1, steps), "how": how}


def kill_and_resume(points, seed, folder):
    """Kills as many processes as `points`; returns how many, by their kind."""
    draw, counts = random.Random(seed), collections.Counter()
    whole, sizes = {}, {}
    for name in RUNS:
        path = folder / name
        sizes[name] = train_with_faults(begin(name, path))
        assert sizes[name].get("rounds") == ROUNDS, sizes[name]
        whole[name] = papers(path)
    while sum(counts.values()) < points:
        name = draw.choice(list(RUNS))
        path, history = folder / "killed", []
        config = begin(name, path)
        faults = kills(draw, sizes[name]["steps"], sizes[name]["seconds"])
        while True:
            history.append(faults)
            answer = train_with_faults(config, **faults)
            assert "error" not in answer, (seed, name, history, answer)
            lost = lost_rounds(path)
            assert lost <= EVERY, (seed, name, history, lost)
            if not answer["signal"]:
                break
            assert answer["signal"] == signal.SIGKILL
            counts[f"{name}, {'time' if len(faults) == 1 else 'step'}"] += 1
            again = draw.random() < 0.85 and len(history) < MOST_KILLS
            faults = {}
            if again and sum(counts.values()) < points:
                faults = kills(
                    draw, sizes[name]["steps"], sizes[name]["seconds"]
                )
        found = papers(path)
        for part, value in whole[name].items():
            assert found[part] == value, (seed, name, history, part)
    return counts


def told(counts, seed):
    print(
        f"\n{sum(counts.values())} kills with seed {seed}, all resumed to the "
        f"same bits: {dict(sorted(counts.items()))}"
    )


def test_a_run_killed_anywhere_ends_with_the_same_bits(tmp_path):
    told(kill_and_resume(25, SEED, tmp_path), SEED)


@pytest.mark.soak
def test_200_kills(tmp_path):
    told(kill_and_resume(200, SEED + 1, tmp_path), SEED + 1)
