"""Files wherever TensorFlow has a file system, through `tf.io.gfile`."""

import contextlib
import errno
import os
import tempfile
from collections.abc import Iterator
from typing import BinaryIO

import tensorflow as tf


class TensorFlowFiles:
    """Files such as gs://bucket/run; the methods are those of `storage.Files`.

    A file is there once it is closed. A folder is no more than the names of
    its files; renaming it would take a rename of each.
    """

    renames_folders = False

    @contextlib.contextmanager
    def _explained(self, path: str) -> Iterator[None]:
        try:
            yield
        except tf.errors.NotFoundError as error:
            raise FileNotFoundError(errno.ENOENT, error.message, path) from None
        except tf.errors.OpError as error:
            # What may pass by itself, for those who try again.
            passing = (
                tf.errors.UnavailableError,
                tf.errors.DeadlineExceededError,
                tf.errors.AbortedError,
            )
            number = errno.EAGAIN if isinstance(error, passing) else errno.EPERM
            raise OSError(number, error.message, path) from None

    def exists(self, path: str) -> bool:
        with self._explained(path):
            return tf.io.gfile.exists(path)

    def is_folder(self, path: str) -> bool:
        with self._explained(path):
            return tf.io.gfile.isdir(path)

    def names(self, folder: str) -> list[str]:
        with self._explained(folder):
            # Object stores end the name of a folder with a slash.
            return sorted(n.rstrip("/") for n in tf.io.gfile.listdir(folder))

    def make_folder(self, path: str) -> None:
        with self._explained(path):
            tf.io.gfile.makedirs(path)

    def make_temporary_folder(self, parent: str, prefix: str) -> str:
        return tempfile.mkdtemp(prefix=prefix)

    def read(self, path: str) -> bytes:
        with self._explained(path), tf.io.gfile.GFile(path, "rb") as file:
            return file.read()

    @contextlib.contextmanager
    def create(self, path: str, mode: int = 0o666) -> Iterator[BinaryIO]:
        del mode  # Who may read it is the store's to say.
        with self._explained(path), tf.io.gfile.GFile(path, "wb") as file:
            yield file

    def append(self, path: str, content: bytes) -> None:
        with self._explained(path), tf.io.gfile.GFile(path, "ab") as file:
            file.write(content)

    def size(self, path: str) -> int:
        with self._explained(path):
            return tf.io.gfile.stat(path).length

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
        """Does nothing, for a file that was closed is there."""

    def replace(self, path: str, target: str) -> None:
        with self._explained(path):
            tf.io.gfile.rename(path, target, overwrite=True)

    def rename_folder(self, path: str, target: str) -> None:
        raise NotImplementedError("Folders are not renamed there.")

    def remove(self, path: str) -> None:
        with self._explained(path):
            tf.io.gfile.remove(path)

    def remove_folder(self, path: str) -> None:
        with self._explained(path):
            tf.io.gfile.rmtree(path)
