"""Measures LoRA of a GPT-2-small shape: in a round, in bare steps, in PEFT.

    python -m benchmarks.large_model_cost [--steps=3] [--repeats=2]
        [--peft_python=benchmarks/.venvs/peft/bin/python]

A model of 124,439,808 made-up weights, LoRA of rank 8 of `query_key_value`,
Adam, and steps of 8 texts of 128 tokens. Every contender is a process of its
own with one thread, and all take turns: CPU seconds a step after the first,
and the most memory that the process had, in all and without what is mapped
from files. `round` is a round of federated averaging of one client, `bare` the
same model's steps in a loop of TensorFlow, `peft` PyTorch with PEFT, if its
Python is named.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from benchmarks import machine

BATCH, LENGTH, RANK = 8, 128, 8
_DTYPES = ("float32", "bfloat16")


class Memory:
    """The most memory of this process, in megabytes, as it is looked at."""

    def __init__(self) -> None:
        self.most = {"RssAnon": 0.0, "VmRSS": 0.0}
        threading.Thread(target=self._look, daemon=True).start()

    def _look(self) -> None:
        while True:
            with open("/proc/self/status", encoding="ascii") as file:
                for line in file:
                    name = line.partition(":")[0]
                    if name in self.most:
                        megabytes = int(line.split()[1]) / 1024
                        self.most[name] = max(self.most[name], megabytes)
            time.sleep(0.01)


def told(seconds: list[float], memory: Memory) -> None:
    """Prints what a contender measured, for `main`."""
    print(
        json.dumps(
            {
                # The first step makes graphs and finds memory.
                "cpu_seconds": statistics.median(seconds[1:]),
                "memory": memory.most["VmRSS"],
                "own_memory": memory.most["RssAnon"],
            }
        )
    )


class _Drawn(Mapping[str, Any]):
    """Made-up weights of an architecture, one at a time."""

    def __init__(self, architecture: Any, dtype: Any):
        self._shapes, self._dtype = architecture.weight_shapes(), dtype

    def __getitem__(self, name: str) -> Any:
        shape = self._shapes[name]
        if len(shape) == 1:
            drawn = np.full(shape, 1.0 if "scale" in name else 0.0)
        else:
            seed = list(self._shapes).index(name)
            drawn = np.random.default_rng(seed).normal(0, 0.02, shape)
        return drawn.astype(self._dtype.as_numpy_dtype)

    def __iter__(self) -> Iterator[str]:
        return iter(self._shapes)

    def __len__(self) -> int:
        return len(self._shapes)


def store_base(folder: str, dtype: str) -> None:
    """Writes a base of the shape of GPT-2 small."""
    import tensorflow as tf

    from tff_pipeline.models.transformer import architecture, base

    shape = architecture.gpt2_small()
    drawn = _Drawn(shape, tf.as_dtype(dtype))
    base.store(
        folder,
        drawn,
        shape,
        source="made up",
        shapes=shape.weight_shapes(),
    )


def _task(folder: str, dtype: str, recompute: bool) -> Any:
    """Returns a task of that base, with a step's texts of one client."""
    from tff_pipeline.datasets.federation.federated_data import (
        Examples,
        InMemoryData,
    )
    from tff_pipeline.models.transformer import base, language_model, lora
    from tff_pipeline.objectives import tokens
    from tff_pipeline.tasks.task import Task

    pretrained = base.load(folder)
    training = language_model.Training(
        "lora",
        lora.Lora(
            rank=RANK,
            alpha=16.0,
            dropout=0.0,
            targets="query_key_value",
            train="ab",
            seed=0,
        ),
        dtype,
        recompute,
    )
    draw = np.random.default_rng(0)
    ids = draw.integers(
        pretrained.architecture.vocabulary_size, size=[BATCH, LENGTH + 1]
    )
    ones = np.ones([BATCH, LENGTH, 2], np.float32)
    examples = Examples(ids.astype(np.int32), ones)
    return Task(
        "gpt2_small",
        InMemoryData(examples, {"one": np.arange(BATCH)}),
        examples,
        lambda: language_model.LanguageModel(
            pretrained.architecture, training, pretrained
        ),
        loss_fn=tokens.TokenNats,
        metrics_fn=lambda: [tokens.Perplexity()],
        input_name="tokens",
    )


def in_rounds(options: argparse.Namespace) -> None:
    """Measures rounds of as many clients as threads, one step a client."""
    from tff_pipeline import silence

    silence.silence()
    from tff_pipeline.algorithms import fed_avg
    from tff_pipeline.client_work.block import client_block, client_key
    from tff_pipeline.config import (
        ClientConfig,
        OptimizerConfig,
        ServerConfig,
    )
    from tff_pipeline.runtime.in_process import InProcessContext

    memory, steps = Memory(), options.steps
    task = _task(options.folder, options.dtype, options.recompute)
    clients = ClientConfig(
        batch_size=BATCH, optimizer=OptimizerConfig("client", "adam", 1e-3)
    )
    process = fed_avg.build(
        task.tff_model_fn,
        clients,
        ServerConfig(OptimizerConfig("server", "sgd", 1.0)),
    )
    seconds = []
    with InProcessContext(options.threads):
        state = process.initialize()
        for number in range(steps + 1):
            began = time.process_time()
            cohort = [
                client_block(
                    task.train.load("one"), client_key(0, number, client)
                )
                for client in range(options.clients)
            ]
            state = process.next(state, cohort).state
            seconds.append((time.process_time() - began) / options.clients)
    told(seconds, memory)


def bare(options: argparse.Namespace) -> None:
    """Measures steps of the model alone."""
    from tff_pipeline import silence

    silence.silence()
    import tensorflow as tf

    tf.config.threading.set_intra_op_parallelism_threads(1)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    memory = Memory()
    task = _task(options.folder, options.dtype, options.recompute)
    model, loss = task.build_model(), task.loss_fn()
    weights = [
        v for v in model.trainable_variables if isinstance(v, tf.Variable)
    ]
    adam = tf.keras.optimizers.legacy.Adam(1e-3)
    examples = task.train.load("one")

    @tf.function(reduce_retracing=True)
    def step(ids: Any, y: Any) -> Any:
        with tf.GradientTape() as tape:
            value = loss(y, model(ids, training=True))
        adam.apply_gradients(zip(tape.gradient(value, weights), weights))
        return value

    seconds = []
    for _ in range(options.steps + 1):
        began = time.process_time()
        step(tf.constant(examples.x), tf.constant(examples.y)).numpy()
        seconds.append(time.process_time() - began)
    told(seconds, memory)


def _contenders(
    options: argparse.Namespace, folders: dict[str, str]
) -> dict[str, list[str]]:
    """Name of a contender -> the command that measures it."""
    own = [sys.executable, "-m", "benchmarks.large_model_cost"]
    commands = {}
    for dtype in _DTYPES:
        flags = [f"--dtype={dtype}", f"--steps={options.steps}"]
        base = [f"--folder={folders[dtype]}"]
        for recompute in ([], ["--recompute"]):
            name = " ".join([dtype, *(["recompute"] if recompute else [])])
            more = [*base, *flags, *recompute]
            commands[f"bare, {name}"] = [*own, "--child=bare", *more]
            commands[f"round, {name}"] = [*own, "--child=round", *more]
        two = ["--threads=2", "--clients=2"]
        commands[f"round of 2 clients at once, {name}"] = [
            *(*own, "--child=round", *more, *two),
        ]
        if options.peft_python:
            peer = ["-m", "benchmarks.contenders.peft_lora"]
            commands[f"peft, {dtype}"] = [options.peft_python, *peer, *flags]
    return commands


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=3)
    parser.add_argument("--repeats", type=int, default=2)
    parser.add_argument("--peft_python", default="")
    parser.add_argument("--child", default="", help=argparse.SUPPRESS)
    parser.add_argument("--folder", default="", help=argparse.SUPPRESS)
    parser.add_argument("--dtype", default="float32", help=argparse.SUPPRESS)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--clients", type=int, default=1)
    parser.add_argument("--recompute", action="store_true")
    options = parser.parse_args()
    if options.child:
        {"round": in_rounds, "bare": bare}[options.child](options)
        return
    with tempfile.TemporaryDirectory() as folder:
        folders = {d: os.path.join(folder, d) for d in _DTYPES}
        for dtype, path in folders.items():
            store_base(path, dtype)
        contenders = _contenders(options, folders)
        measured: dict[str, list[dict[str, float]]] = {}
        for _ in range(options.repeats):
            for name, command in contenders.items():
                done = subprocess.run(
                    command, capture_output=True, text=True, check=False
                )
                if done.returncode:
                    print(f"{name}: {done.stderr[-2000:]}", file=sys.stderr)
                    continue
                # Told at once, for a whole turn takes long.
                print(f"{name}: {done.stdout.splitlines()[-1]}", flush=True)
                result = json.loads(done.stdout.splitlines()[-1])
                measured.setdefault(name, []).append(result)
    print(f"{machine.words()}; {options.repeats} turns, the least of each")
    print("| | CPU s a step | memory, MB | without mapped files, MB |")
    print("|---|---|---|---|")
    for name, results in measured.items():
        least = {key: min(r[key] for r in results) for key in results[0]}
        print(
            f"| {name} | {least['cpu_seconds']:.2f} | {least['memory']:.0f} "
            f"| {least['own_memory']:.0f} |"
        )


if __name__ == "__main__":
    main()
