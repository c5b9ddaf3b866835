"""What a checkpoint of a large model costs, and what of that training waits.

    python -m benchmarks.checkpoint_cost [--parameters=20000000] [--folder=DIR]

Saves states of an SGD and an Adam server to disk, each file flushed, and
beside it a plain write and flush of as many bytes: what the disk alone takes.
Then records rounds of `--round_seconds` with a checkpoint after each, and says
how much longer a round was for it.
"""

import argparse
import os
import statistics
import tempfile
import time

import numpy as np

from tff_pipeline.runs.checkpoint import CheckpointStore
from tff_pipeline.runs.metrics_file import CsvSink
from tff_pipeline.runs.round_log import RoundLog
from tff_pipeline.runs.sinks import Sinks
from tff_pipeline.runs.state_files import digest, flatten
from tff_pipeline.runs.tensorboard_sink import TensorBoardSink
from tff_pipeline.training.recorder import Recorder, Round

_TURNS = 5


def _state(parameters: int, moments: int) -> dict:
    draw = np.random.default_rng(0)
    layer = draw.normal(size=parameters).astype(np.float32)
    return {
        "global_model_weights": {"trainable": [layer]},
        "finalizer": [layer + i for i in range(1, moments + 1)],
    }


def _plain(path: str, size: int) -> float:
    content = np.zeros(size, np.uint8).data
    began = time.perf_counter()
    with open(path, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    return time.perf_counter() - began


def _shown(seconds: list[float]) -> str:
    return (
        f"{statistics.median(seconds):.2f} s "
        f"({min(seconds):.2f} to {max(seconds):.2f})"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--parameters", type=int, default=20_000_000)
    parser.add_argument("--folder", default=None)
    parser.add_argument("--round_seconds", type=float, default=2.0)
    options = parser.parse_args()
    for optimizer, moments in (("sgd", 0), ("adam", 2)):
        state = _state(options.parameters, moments)
        size = sum(array.nbytes for array in flatten(state).values())
        with tempfile.TemporaryDirectory(dir=options.folder) as folder:
            store = CheckpointStore(os.path.join(folder, "store"), keep=2)
            saving, plain, hashing = [], [], []
            for turn in range(1, _TURNS + 1):
                began = time.perf_counter()
                store.save(turn, state)
                saving.append(time.perf_counter() - began)
                plain.append(_plain(os.path.join(folder, "plain"), size))
                began = time.perf_counter()
                digest(flatten(state))
                hashing.append(time.perf_counter() - began)
            print(
                f"{optimizer}, {options.parameters / 1e6:g} million parameters,"
                f" {size / 1e6:.0f} MB: checkpoint {_shown(saving)}, plain "
                f"write {_shown(plain)}, hash of a round's state "
                f"{_shown(hashing)}",
                flush=True,
            )
            waits = _waits(folder, state, options.round_seconds)
            print(
                f"  rounds of {options.round_seconds:g} s, each with a "
                f"checkpoint, wait {_shown(waits)} for it",
                flush=True,
            )


def _waits(folder: str, state: dict, seconds: float) -> list[float]:
    """How long `record` kept the training thread, round by round."""
    metrics = os.path.join(folder, "metrics.csv")
    recorder = Recorder(
        Sinks(
            metrics,
            [
                CsvSink(metrics, ["round"]),
                TensorBoardSink(os.path.join(folder, "tensorboard")),
            ],
        ),
        RoundLog(os.path.join(folder, "rounds.jsonl"), {}),
        CheckpointStore(os.path.join(folder, "checkpoints"), keep=2),
    )
    waits = []
    with recorder:
        recorder.start(state)
        for number in range(1, _TURNS + 1):
            # A round's work, on one core.
            end = time.perf_counter() + seconds
            while time.perf_counter() < end:
                np.linalg.norm(np.ones(1000))
            began = time.perf_counter()
            recorder.record(
                Round(number, state, None, [], {"round": number}), True
            )
            waits.append(time.perf_counter() - began)
    return waits


if __name__ == "__main__":
    main()
