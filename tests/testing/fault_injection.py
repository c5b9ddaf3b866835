"""A file layer with faults in it, and a program that trains upon it.

    python -m tests.testing.fault_injection COMMAND

The command is JSON, and what came of it is printed as JSON.
"""

import errno
import json
import os
import random
import signal
import sys
import threading
import time
import traceback

from tests.testing import own_algorithm
from tff_pipeline.files import storage

own_algorithm.register()

# What changes something on the disk.
CHANGES = (
    "make_folder",
    "make_temporary_folder",
    "create",
    "append",
    "truncate",
    "sync",
    "replace",
    "rename_folder",
    "remove",
    "remove_folder",
)
WRITES = ("make_folder", "make_temporary_folder", "create", "write", "append")


class FaultyFiles(storage.LocalFiles):
    """This machine's files; `fault(step, name, path)` comes before each change.

    It may raise, or end the process. If it returns "half", half of the change
    is done, and then the process is killed.
    """

    def __init__(self, fault):
        self._fault = fault
        self._steps = 0
        self._lock = threading.Lock()
        for name in CHANGES:
            setattr(self, name, self._faulty(name, getattr(self, name)))

    def _faulty(self, name, change):
        def faulty(path, *arguments, **options):
            if self._step(name, path) == "half":
                self._half(name, path, *arguments)
                die()
            made = change(path, *arguments, **options)
            return _Created(self, path, made) if name == "create" else made

        return faulty

    def _step(self, name, path):
        with self._lock:
            self._steps += 1
            return self._fault(self._steps, name, path)

    def _half(self, name, path, *arguments):
        if name == "append":
            (content,) = arguments
            with open(path, "ab") as file:
                file.write(content[: len(content) // 2])
        if name == "remove_folder":
            for some in sorted(os.listdir(path))[::2]:
                inner = os.path.join(path, some)
                if os.path.isfile(inner):
                    os.remove(inner)


class _Created:
    """A file that was created; each write to it is a step."""

    def __init__(self, files, path, made):
        self._files, self._path, self._made = files, path, made

    def __enter__(self):
        self._file = self._made.__enter__()
        return self

    def __exit__(self, *exception):
        return self._made.__exit__(*exception)

    def write(self, content):
        content = memoryview(content).cast("B")
        if self._files._step("write", self._path) == "half":
            self._file.write(content[: len(content) // 2])
            self._file.flush()
            die()
        return self._file.write(content)

    def flush(self):
        self._file.flush()


def die():
    os.kill(os.getpid(), signal.SIGKILL)
    time.sleep(60)


def fault_of(command):
    """The fault that a command asks for.

    kill_at and how: SIGKILL before that step, or in the middle of it.
    error and chance: an OSError of that name before a step, that often, from
      the generator `seed`.
    full_from: from that step on no file can be written, as on a full disk.
    clock: time.time jumps by years, back and forth.
    """
    draw = random.Random(command.get("seed", 0))
    full_from = command.get("full_from", sys.maxsize)

    def fault(step, name, path):
        if step == command.get("kill_at"):
            if command.get("how") == "half":
                return "half"
            die()
        if step >= full_from and name in WRITES:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), path)
        if draw.random() < command.get("chance", 0):
            number = getattr(errno, command["error"])
            raise OSError(number, os.strerror(number), path)
        return None

    return fault


def train(command):
    """Runs an experiment on faulty files; returns what came of it."""
    from tff_pipeline import experiment
    from tff_pipeline.config import ExperimentConfig

    files = storage.local = FaultyFiles(fault_of(command))
    if "kill_after" in command:
        timer = threading.Timer(command["kill_after"], die)
        timer.daemon = True
        timer.start()
    if command.get("clock"):
        draw = random.Random(0)
        time.time = lambda: draw.uniform(0, 4e9)
    config = ExperimentConfig.from_json(json.dumps(command["config"]))
    began = time.monotonic()
    result = experiment.run(config)
    return {
        "rounds": result.round_number,
        "steps": files._steps,
        "seconds": time.monotonic() - began,
    }


def model_fn():
    """A small model with dropout, for `--model_fn`."""
    import tensorflow as tf

    layers = tf.keras.layers
    return tf.keras.Sequential(
        [
            tf.keras.Input([8, 8, 1], dtype=tf.uint8),
            layers.Rescaling(1 / 16),
            layers.Flatten(),
            layers.Dense(16, "relu"),
            layers.Dropout(0.3),
            layers.Dense(10),
        ]
    )


def main():
    try:
        answer = train(json.loads(sys.argv[1]))
    except Exception as error:
        answer = {
            "error": type(error).__name__,
            "says": str(error),
            "traceback": traceback.format_exc(),
        }
    print(f"\n{json.dumps(answer)}", flush=True)
    # All is on the disk; taking TensorFlow down takes a second.
    os._exit(0)


if __name__ == "__main__":
    main()
