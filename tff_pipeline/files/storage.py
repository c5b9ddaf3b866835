"""Reads and writes files here, or where TensorFlow has a file system.

A path such as gs://bucket/run goes through `tf.io.gfile`, any other through the
operating system. Either way a call raises `OSError` if it fails.
"""

import contextlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from typing import Any, BinaryIO, Optional, Protocol


class Files(Protocol):
    """The few operations that a run directory needs of a file system.

    Each raises `OSError` if it fails.
    """

    # Whether a folder can be put in its place whole, by renaming it.
    renames_folders: bool

    def exists(self, path: str) -> bool:
        """Returns whether a file or a folder is at `path`."""

    def is_folder(self, path: str) -> bool:
        """Returns whether a folder is at `path`."""

    def names(self, folder: str) -> list[str]:
        """Returns the names of all entries of `folder`, sorted."""

    def make_folder(self, path: str) -> None:
        """Makes the folder `path` and its parents, unless they exist."""

    def make_temporary_folder(self, parent: str, prefix: str) -> str:
        """Makes an empty folder on this machine to fill; returns its path.

        Args:
          parent: The folder in which it lies, where folders can be renamed.
          prefix: The beginning of its name.
        """

    def read(self, path: str) -> bytes:
        """Returns the whole content of the file `path`."""

    def create(
        self, path: str, mode: int = 0o666
    ) -> contextlib.AbstractContextManager[BinaryIO]:
        """Opens a new or emptied file; it is on disk when the block ends.

        Args:
          path: The file.
          mode: Its permissions, less those that the umask takes away.
        """

    def append(self, path: str, content: bytes) -> None:
        """Adds `content` to the file `path`; it is on disk after `sync`."""

    def size(self, path: str) -> int:
        """Returns the length of the file `path` in bytes."""

    def truncate(self, path: str, size: int) -> None:
        """Cuts the file `path` down to its first `size` bytes."""

    def sync(self, path: str) -> None:
        """Waits until a file, or the names in a folder `path`, are on disk."""

    def replace(self, path: str, target: str) -> None:
        """Renames the file `path` to `target`, which it replaces."""

    def rename_folder(self, path: str, target: str) -> None:
        """Renames the folder `path` to `target`, where nothing is."""

    def remove(self, path: str) -> None:
        """Removes the file `path`."""

    def remove_folder(self, path: str) -> None:
        """Removes the folder `path` with all that it holds."""


class LocalFiles:
    """Files on this machine, through the operating system; see `Files`."""

    renames_folders = True

    def exists(self, path: str) -> bool:
        return os.path.exists(path)

    def is_folder(self, path: str) -> bool:
        return os.path.isdir(path)

    def names(self, folder: str) -> list[str]:
        return sorted(os.listdir(folder))

    def make_folder(self, path: str) -> None:
        os.makedirs(path, exist_ok=True)

    def make_temporary_folder(self, parent: str, prefix: str) -> str:
        path = tempfile.mkdtemp(prefix=prefix, dir=parent)
        # As if `make_folder` had made it, not for its owner alone.
        os.chmod(path, 0o777 & ~_umask())
        return path

    def read(self, path: str) -> bytes:
        with open(path, "rb") as file:
            return file.read()

    @contextlib.contextmanager
    def create(self, path: str, mode: int = 0o666) -> Iterator[BinaryIO]:
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC
        with open(os.open(path, flags, mode), "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())

    def append(self, path: str, content: bytes) -> None:
        with open(path, "ab") as file:
            file.write(content)

    def size(self, path: str) -> int:
        return os.path.getsize(path)

    def truncate(self, path: str, size: int) -> None:
        os.truncate(path, size)

    def sync(self, path: str) -> None:
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

    def replace(self, path: str, target: str) -> None:
        os.replace(path, target)

    def rename_folder(self, path: str, target: str) -> None:
        os.rename(path, target)

    def remove(self, path: str) -> None:
        os.remove(path)

    def remove_folder(self, path: str) -> None:
        shutil.rmtree(path)


local: Files = LocalFiles()
_elsewhere: Optional[Files] = None


def file_system(path: str) -> Files:
    """Returns the file system that `path` lies on.

    >>> type(file_system("runs/quickstart")).__name__
    'LocalFiles'
    """
    global _elsewhere
    if is_local(path):
        return local
    if _elsewhere is None:
        # Here: most programs need no other files than this machine's.
        from tff_pipeline.files.tensorflow_files import TensorFlowFiles

        _elsewhere = TensorFlowFiles()
    return _elsewhere


def is_local(path: str) -> bool:
    """Returns whether `path` is one of the operating system's.

    >>> is_local("runs/quickstart"), is_local("gs://bucket/run")
    (True, False)
    """
    return "://" not in path


def absolute(path: str) -> str:
    """Returns `path` so that it means the same from any working directory.

    >>> absolute("gs://bucket/run")
    'gs://bucket/run'
    """
    return os.path.abspath(path) if is_local(path) else path


def exists(path: str) -> bool:
    """Returns whether a file or a folder is at `path`."""
    return file_system(path).exists(path)


def read_text(path: str) -> str:
    """Returns the content of a text file.

    Args:
      path: The file, in UTF-8.

    Raises:
      OSError: If it cannot be read.
      UnicodeDecodeError: If it is not UTF-8.
    """
    return file_system(path).read(path).decode("utf-8")


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def remove_any(path: str) -> None:
    """Removes a file, or a folder with all that it holds, if it is there.

    Args:
      path: The file or folder.
    """
    files: Any = file_system(path)
    if files.is_folder(path):
        files.remove_folder(path)
    elif files.exists(path):
        files.remove(path)
