"""Files and folders on this machine, or where TensorFlow has a file system.

A path such as gs://bucket/run goes through `tf.io.gfile`, any other through the
operating system. Either way a call raises `OSError` if it fails.
"""

import contextlib
import errno
import os
import shutil
import tempfile
from collections.abc import Iterator
from typing import Any, BinaryIO, Optional, Protocol


class Files(Protocol):
    """The few things that a run directory asks of a file system."""

    # Whether a folder can be put in its place whole, by renaming it.
    renames_folders: bool

    def exists(self, path: str) -> bool: ...

    def is_folder(self, path: str) -> bool: ...

    def names(self, folder: str) -> list[str]: ...

    def make_folder(self, path: str) -> None:
        """With its parents; it may be there."""

    def make_temporary_folder(self, parent: str, prefix: str) -> str: ...

    def read(self, path: str) -> bytes: ...

    def create(
        self, path: str, mode: int = 0o666
    ) -> contextlib.AbstractContextManager[BinaryIO]:
        """A file to write, new or emptied; on the disk when the block ends."""

    def append(self, path: str, content: bytes) -> None:
        """It may lie in memory still; see `sync`."""

    def size(self, path: str) -> int: ...

    def truncate(self, path: str, size: int) -> None:
        """Cuts a file down to its first `size` bytes."""

    def sync(self, path: str) -> None:
        """Has a file, or a folder's names, on the disk when it returns."""

    def replace(self, path: str, target: str) -> None:
        """Renames a file to the name of another, which is gone."""

    def rename_folder(self, path: str, target: str) -> None: ...

    def remove(self, path: str) -> None:
        """Of a file."""

    def remove_folder(self, path: str) -> None:
        """With all that is in it."""


class LocalFiles:
    """On this machine's file systems."""

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


class TensorFlowFiles:
    """Wherever `tf.io.gfile` reaches.

    A file is there once it is closed; a folder is no more than the names of
    its files, and renaming one takes a rename of each.
    """

    renames_folders = False

    def __init__(self) -> None:
        # Here: most programs need no other files than this machine's.
        import tensorflow as tf

        self._tf, self._gfile = tf, tf.io.gfile

    @contextlib.contextmanager
    def _explained(self, path: str) -> Iterator[None]:
        try:
            yield
        except self._tf.errors.NotFoundError as error:
            raise FileNotFoundError(errno.ENOENT, error.message, path) from None
        except self._tf.errors.OpError as error:
            # What may pass by itself, for those who try again.
            passing = (
                self._tf.errors.UnavailableError,
                self._tf.errors.DeadlineExceededError,
                self._tf.errors.AbortedError,
            )
            number = errno.EAGAIN if isinstance(error, passing) else errno.EPERM
            raise OSError(number, error.message, path) from None

    def exists(self, path: str) -> bool:
        with self._explained(path):
            return self._gfile.exists(path)

    def is_folder(self, path: str) -> bool:
        with self._explained(path):
            return self._gfile.isdir(path)

    def names(self, folder: str) -> list[str]:
        with self._explained(folder):
            # Object stores end the name of a folder with a slash.
            return sorted(n.rstrip("/") for n in self._gfile.listdir(folder))

    def make_folder(self, path: str) -> None:
        with self._explained(path):
            self._gfile.makedirs(path)

    def make_temporary_folder(self, parent: str, prefix: str) -> str:
        return tempfile.mkdtemp(prefix=prefix)

    def read(self, path: str) -> bytes:
        with self._explained(path), self._gfile.GFile(path, "rb") as file:
            return file.read()

    @contextlib.contextmanager
    def create(self, path: str, mode: int = 0o666) -> Iterator[BinaryIO]:
        del mode  # Who may read it is the store's to say.
        with self._explained(path), self._gfile.GFile(path, "wb") as file:
            yield file

    def append(self, path: str, content: bytes) -> None:
        with self._explained(path), self._gfile.GFile(path, "ab") as file:
            file.write(content)

    def size(self, path: str) -> int:
        with self._explained(path):
            return self._gfile.stat(path).length

    def truncate(self, path: str, size: int) -> None:
        content = self.read(path)[:size]
        # Beside it, for a kill on the way must not take the lines before.
        parent, name = os.path.split(path)
        beside = os.path.join(parent, f".tmp-{name}")
        with contextlib.suppress(FileNotFoundError):
            self.remove(beside)
        with self.create(beside) as file:
            file.write(content)
        self.replace(beside, path)

    def sync(self, path: str) -> None:
        """Nothing: a file that was closed is there."""

    def replace(self, path: str, target: str) -> None:
        with self._explained(path):
            self._gfile.rename(path, target, overwrite=True)

    def rename_folder(self, path: str, target: str) -> None:
        raise NotImplementedError("Folders are not renamed there.")

    def remove(self, path: str) -> None:
        with self._explained(path):
            self._gfile.remove(path)

    def remove_folder(self, path: str) -> None:
        with self._explained(path):
            self._gfile.rmtree(path)


local: Files = LocalFiles()
_elsewhere: Optional[Files] = None


def of(path: str) -> Files:
    """Where `path` lies."""
    global _elsewhere
    if is_local(path):
        return local
    if _elsewhere is None:
        _elsewhere = TensorFlowFiles()
    return _elsewhere


def is_local(path: str) -> bool:
    """Whether it is a path of the operating system's."""
    return "://" not in path


def absolute(path: str) -> str:
    """The same place from any working directory."""
    return os.path.abspath(path) if is_local(path) else path


def exists(path: str) -> bool:
    return of(path).exists(path)


def read_text(path: str) -> str:
    """A whole text file, UTF-8; raises `OSError` or `UnicodeDecodeError`."""
    return of(path).read(path).decode("utf-8")


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def remove_any(path: str) -> None:
    """Of a file or a folder, if it is there."""
    files: Any = of(path)
    if files.is_folder(path):
        files.remove_folder(path)
    elif files.exists(path):
        files.remove(path)
