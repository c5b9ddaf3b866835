"""What converters to other formats take, and how they are run."""

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
    """A SavedModel with the one signature that other formats can have.

    Yields:
      (its folder, the signature's name).
    """
    found: dict[str, Any] = signatures.numbers_only(task, model, batch_size)
    (name,) = found
    module = tf.Module()
    module.model = model
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "model")
        tf.saved_model.save(module, path, signatures=found)
        yield path, name


@contextlib.contextmanager
def new_file(path: str, ending: str) -> Iterator[str]:
    """A file to convert into; it becomes `path` when the block ends well.

    Args:
      path: Wherever it is to be.
      ending: How its name ends meanwhile, for those who go by that.

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
    """Runs a converter; raises `ConfigError` with its last words if it fails.

    Args:
      kind: The format.
      task: Whose model it converts.
      command: The program and its arguments.
    """
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode == 0:
        return
    said = " ".join(done.stderr.split())[-300:]
    if done.returncode < 0:
        said = f"it was ended by {signal.Signals(-done.returncode).name}"
    raise errors.ConfigError(
        f"--format={kind}: the converter cannot convert {task.name} ({said}); "
        "choose another format."
    )


def write_replay(task: Task, model: tf.keras.Model, path: str) -> None:
    """Writes what the trained model gives, beside a file or into a folder."""
    found = signatures.numbers_only(task, model)
    replay.write(replay.beside(path), replay.record(task, None, found))
