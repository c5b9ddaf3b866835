"""Prepares models for converters to other formats, and runs these."""

import contextlib
import os
import signal
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from typing import Any, Optional

import tensorflow as tf

from tff_pipeline import errors
from tff_pipeline.export import replay, signatures
from tff_pipeline.files import durable, storage
from tff_pipeline.tasks.task import Task


@contextlib.contextmanager
def numbers_only(
    task: Task, model: tf.keras.Model, batch_size: Optional[int] = None
) -> Iterator[tuple[str, str]]:
    """Saves a model with the one signature that other formats can have.

    Args:
      task: Whose model it is.
      model: The trained one.
      batch_size: The size of a batch, where a format must know it.

    Yields:
      (the SavedModel's folder, the signature's name).
    """
    functions: dict[str, Any] = signatures.numbers_only(task, model, batch_size)
    (name,) = functions
    module = tf.Module()
    module.model = model
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "model")
        tf.saved_model.save(module, path, signatures=functions)
        yield path, name


@contextlib.contextmanager
def new_file(path: str, ending: str) -> Iterator[str]:
    """Gives a path to convert into, which becomes `path` in the end.

    Args:
      path: The file, here or where `storage` reaches.
      ending: The end of its name meanwhile, for converters that go by it.

    Yields:
      Its path on this machine; nothing is there yet.

    Raises:
      RunDirectoryError: If `path` cannot be written; it is then as before.
    """
    with tempfile.TemporaryDirectory() as folder:
        written = os.path.join(folder, f"model{ending}")
        yield written
        with durable.explained(path):
            parent = os.path.dirname(storage.absolute(path))
            storage.file_system(path).make_folder(parent)
        with open(written, "rb") as file:
            durable.write_bytes(path, file.read())


def run(kind: str, task: Task, command: Sequence[str]) -> None:
    """Runs a converter in a process of its own.

    Args:
      kind: The format.
      task: Whose model it converts.
      command: The program and its arguments.

    Raises:
      ConfigError: If it fails; the sentence ends with its last words.
    """
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode == 0:
        return
    words = " ".join(done.stderr.split())[-300:]
    if done.returncode < 0:
        words = f"it was ended by {signal.Signals(-done.returncode).name}"
    raise errors.ConfigError(
        f"--format={kind}: the converter cannot convert {task.name} ({words}); "
        "choose another format."
    )


def write_replay(task: Task, model: tf.keras.Model, path: str) -> None:
    """Writes made-up inputs and the trained model's outputs for them.

    Args:
      task: Whose model it is.
      model: The trained one.
      path: The exported file or folder, beside or in which it is written.
    """
    functions = signatures.numbers_only(task, model)
    replay.write(replay.beside(path), replay.record(task, None, functions))
