"""Files and folders that are either there whole or not there at all.

Written beside their place under a name that starts with `.tmp-`, flushed to
disk, renamed, and the rename flushed too: a kill or a power cut at any point
leaves the old version or the new one.
"""

import contextlib
import os
import shutil
import tempfile
from collections.abc import Iterator

from tff_pipeline import errors

TEMPORARY = ".tmp-"
_OLD = ".tmp-old-"


@contextlib.contextmanager
def explained(path: str) -> Iterator[None]:
    """Turns an `OSError` on `path` into a `RunDirectoryError` that names it."""
    try:
        yield
    except OSError as error:
        raise errors.RunDirectoryError(
            f"{path} cannot be written ({error.strerror or error}); make room "
            "there, or name a place that can be written. What was saved "
            "before still stands."
        ) from error


def write_text(path: str, text: str, mode: int = 0o666) -> None:
    """Writes `text` to the file `path`, replacing it whole.

    Args:
      path: The file.
      text: What it will hold.
      mode: Who may read and write it, of whom the umask takes away.

    Raises:
      RunDirectoryError: If it cannot; an older version then still stands.
    """
    folder, name = os.path.split(os.path.abspath(path))
    temporary = os.path.join(folder, TEMPORARY + name)
    with explained(path):
        try:
            descriptor = os.open(
                temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode
            )
            with open(descriptor, "w", encoding="utf-8", newline="") as file:
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
            os.replace(temporary, path)
        except BaseException:
            with contextlib.suppress(OSError):
                os.remove(temporary)
            raise
        _sync(folder)


@contextlib.contextmanager
def new_file(path: str) -> Iterator[str]:
    """A file to write; it becomes `path` when the block ends well.

    Yields:
      The temporary file's path, in the same folder; nothing is there yet.

    Raises:
      RunDirectoryError: If it cannot be written; `path` is then as before.
    """
    parent, name = os.path.split(os.path.abspath(path))
    with explained(path):
        os.makedirs(parent, exist_ok=True)
        temporary = os.path.join(parent, TEMPORARY + name)
        with contextlib.suppress(FileNotFoundError):
            os.remove(temporary)
        try:
            yield temporary
            _sync(temporary)
            os.replace(temporary, path)
        except BaseException:
            with contextlib.suppress(OSError):
                os.remove(temporary)
            raise
        _sync(parent)


@contextlib.contextmanager
def folder(path: str) -> Iterator[str]:
    """A new folder to fill; it becomes `path` when the block ends well.

    Yields:
      The temporary folder to write into.

    Raises:
      RunDirectoryError: If it cannot be written; `path` is then as before.
    """
    path = os.path.abspath(path)
    parent, name = os.path.split(path)
    with explained(path):
        os.makedirs(parent, exist_ok=True)
        temporary = tempfile.mkdtemp(prefix=f"{TEMPORARY}{name}-", dir=parent)
        try:
            yield temporary
            os.chmod(temporary, 0o777 & ~_umask())
            for root, _, files in os.walk(temporary):
                for file in files:
                    _sync(os.path.join(root, file))
                _sync(root)
            if os.path.exists(path):
                _replace(temporary, path)
            else:
                os.rename(temporary, path)
            _sync(parent)
        except BaseException:
            shutil.rmtree(temporary, ignore_errors=True)
            raise


def _replace(new: str, path: str) -> None:
    """Puts the folder `new` in the place of `path`.

    Two renames: a kill between them leaves the old version under another name,
    from where `remove_temporary` brings it back.
    """
    parent, name = os.path.split(path)
    old = os.path.join(parent, _OLD + name)
    shutil.rmtree(old, ignore_errors=True)
    os.rename(path, old)
    try:
        os.rename(new, path)
    except OSError:
        os.rename(old, path)
        raise
    shutil.rmtree(old, ignore_errors=True)


def remove_temporary(parent: str) -> None:
    """Removes what a killed process left half-written in `parent`.

    A folder that it was about to replace is brought back.
    """
    for name in os.listdir(parent):
        place = os.path.join(parent, name[len(_OLD) :])
        if name.startswith(_OLD) and not os.path.exists(place):
            os.rename(os.path.join(parent, name), place)
            continue
        if name.startswith(TEMPORARY):
            path = os.path.join(parent, name)
            if os.path.isdir(path):
                shutil.rmtree(path)
            else:
                os.remove(path)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def _sync(path: str) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
