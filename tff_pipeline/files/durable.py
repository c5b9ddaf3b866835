"""Writes files and folders whole or not at all.

They are written beside their place under a name that starts with `.tmp-`,
flushed to disk, renamed, and the rename is flushed too: a kill or a power cut
at any point leaves the old version or the new one. Where a file system cannot
rename a folder, its files are written in place, and the one without which
readers take it for no folder comes last.
"""

import contextlib
import errno
import os
import shutil
import time
from collections.abc import Callable, Iterator
from typing import TypeVar

from tff_pipeline import errors
from tff_pipeline.files import storage

TEMPORARY = ".tmp-"
_OLD = ".tmp-old-"
# How often something is tried, and how long is waited in between, in seconds.
ATTEMPTS = 3
_WAIT = 0.2
_BLOCK = 1 << 20
# Errors that last; those of a bad sector or an absent file server may pass.
_LASTING = {
    *(errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EACCES),
    *(errno.EPERM, errno.ENOENT, errno.ENOTDIR, errno.EISDIR, errno.EEXIST),
    *(errno.ENAMETOOLONG, errno.EINVAL, errno.ENOTEMPTY),
}
_Result = TypeVar("_Result")


@contextlib.contextmanager
def explained(path: str, what: str = "written") -> Iterator[None]:
    """Turns an `OSError` on `path` into a `RunDirectoryError` that names it.

    Args:
      path: The file or folder that the block works on.
      what: What the block does to it: "written" or "read".

    Raises:
      RunDirectoryError: In the place of any `OSError`.
    """
    try:
        yield
    except OSError as error:
        advice = {
            "written": "make room there, or name a place that can be written",
            "read": "restore it, or start again with --overwrite",
        }
        raise errors.RunDirectoryError(
            f"{path} cannot be {what} ({error.strerror or error}); "
            f"{advice[what]}. What was saved before still stands."
        ) from error


def persistently(path: str, action: Callable[[], _Result]) -> _Result:
    """Calls `action`, and again if an `OSError` that may pass stops it.

    Args:
      path: The file or folder that it works on, for the error's sentence.
      action: Called up to `ATTEMPTS` times.

    Returns:
      The result of `action`.

    Raises:
      RunDirectoryError: If it fails for good, or in every attempt.
    """

    def explaining() -> _Result:
        with explained(path):
            return action()

    return repeatedly(explaining)


def repeatedly(action: Callable[[], _Result]) -> _Result:
    """Calls `action`, and again if it fails for a reason that may pass.

    Args:
      action: Raises a `RunDirectoryError` whose cause is the `OSError`; called
        up to `ATTEMPTS` times.

    Returns:
      The result of `action`.

    Raises:
      RunDirectoryError: If it fails for good, or in every attempt.
    """
    for attempt in range(1, ATTEMPTS):
        try:
            return action()
        except errors.RunDirectoryError as error:
            cause = error.__cause__
            if not isinstance(cause, OSError) or cause.errno in _LASTING:
                raise
        time.sleep(_WAIT * attempt)
    try:
        return action()
    except errors.RunDirectoryError as error:
        raise errors.RunDirectoryError(
            f"{error} (It was tried {ATTEMPTS} times.)"
        ) from error.__cause__


def write_text(path: str, text: str, mode: int = 0o666) -> None:
    """Writes a text file, whole or not at all, as UTF-8.

    Args:
      path: The file; an older version is replaced.
      text: Its content.
      mode: Its permissions, less those that the umask takes away.

    Raises:
      RunDirectoryError: If it cannot; an older version then still stands.
    """
    write_bytes(path, text.encode("utf-8"), mode)


def write_bytes(path: str, content: bytes, mode: int = 0o666) -> None:
    """Writes a file, whole or not at all.

    Args:
      path: The file; an older version is replaced.
      content: What it will hold.
      mode: Its permissions, less those that the umask takes away.

    Raises:
      RunDirectoryError: If it cannot; an older version then still stands.
    """

    def write() -> None:
        with (
            _beside(path) as temporary,
            storage.file_system(path).create(temporary, mode) as file,
        ):
            file.write(content)

    persistently(path, write)


@contextlib.contextmanager
def new_file(path: str) -> Iterator[str]:
    """Gives a path to write to; the file becomes `path` if the block ends well.

    Args:
      path: The file; an older version is replaced.

    Yields:
      The temporary file's path, in the same folder; nothing is there yet.

    Raises:
      RunDirectoryError: If it cannot be written; `path` is then as before.
    """
    with explained(path):
        parent = os.path.dirname(storage.absolute(path))
        storage.file_system(path).make_folder(parent)
        with _beside(path) as temporary:
            yield temporary
            storage.file_system(path).sync(temporary)


@contextlib.contextmanager
def _beside(path: str) -> Iterator[str]:
    """Gives the name of a file that takes the place of `path` at the end."""
    files = storage.file_system(path)
    parent, name = os.path.split(storage.absolute(path))
    temporary = os.path.join(parent, TEMPORARY + name)
    with contextlib.suppress(FileNotFoundError):
        files.remove(temporary)
    try:
        yield temporary
        files.replace(temporary, path)
    except BaseException:
        with contextlib.suppress(OSError):
            files.remove(temporary)
        raise
    files.sync(parent)


@contextlib.contextmanager
def folder(path: str, last: str) -> Iterator[str]:
    """Gives a new folder to fill; it becomes `path` if the block ends well.

    Args:
      path: The folder; an older version is replaced.
      last: The file without which readers take it for no folder at all. It is
        written last where folders cannot be renamed.

    Yields:
      A temporary folder on this machine to write into.

    Raises:
      RunDirectoryError: If it cannot be written; `path` is then as before, or,
        where folders cannot be renamed, it may lack `last`.
    """
    files, path = storage.file_system(path), storage.absolute(path)
    parent, name = os.path.split(path)
    with explained(path):
        files.make_folder(parent)
        temporary = files.make_temporary_folder(parent, f"{TEMPORARY}{name}-")
        try:
            yield temporary
            if files.renames_folders:
                _rename(temporary, path)
            else:
                _copy(temporary, path, last)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)


def _rename(temporary: str, path: str) -> None:
    files = storage.file_system(path)
    for root, _, names in os.walk(temporary):
        for name in names:
            files.sync(os.path.join(root, name))
        files.sync(root)
    if files.exists(path):
        _replace(temporary, path)
    else:
        files.rename_folder(temporary, path)
    files.sync(os.path.dirname(path))


def _replace(new: str, path: str) -> None:
    """Puts the folder `new` in the place of `path`.

    Two renames: a kill between them leaves the old version under another name,
    from where `remove_temporary` brings it back.
    """
    files = storage.file_system(path)
    parent, name = os.path.split(path)
    old = os.path.join(parent, _OLD + name)
    storage.remove_any(old)
    files.rename_folder(path, old)
    try:
        files.rename_folder(new, path)
    except OSError:
        files.rename_folder(old, path)
        raise
    with contextlib.suppress(OSError):
        files.remove_folder(old)


def _copy(source: str, path: str, last: str) -> None:
    files = storage.file_system(path)
    remove_folder(path, last)
    paths = [
        os.path.relpath(os.path.join(root, name), source)
        for root, _, names in os.walk(source)
        for name in names
    ]
    for name in sorted(paths, key=lambda name: (name == last, name)):
        target = os.path.join(path, name)
        files.make_folder(os.path.dirname(target))
        with (
            open(os.path.join(source, name), "rb") as original,
            files.create(target) as file,
        ):
            while block := original.read(_BLOCK):
                file.write(block)


def remove_folder(path: str, last: str) -> None:
    """Removes a folder that `folder` made.

    Args:
      path: The folder; it need not be there.
      last: The file without which readers take it for no folder; it goes first,
        so that a kill leaves nothing that looks whole.

    Raises:
      OSError: If it cannot be removed.
    """
    files = storage.file_system(path)
    with contextlib.suppress(FileNotFoundError):
        files.remove(os.path.join(path, last))
    if files.exists(path):
        files.remove_folder(path)


def remove_temporary(parent: str) -> None:
    """Removes what a killed process left half-written.

    A folder that it was about to replace is brought back.

    Args:
      parent: The folder to clean; its folders are not.
    """
    files = storage.file_system(parent)
    for name in files.names(parent):
        place = os.path.join(parent, name[len(_OLD) :])
        if name.startswith(_OLD) and not files.exists(place):
            files.rename_folder(os.path.join(parent, name), place)
        elif name.startswith(TEMPORARY):
            storage.remove_any(os.path.join(parent, name))
