"""Files of what clients keep, each named by the SHA-256 of its content.

    checkpoints/kept_rows/3f1c...e0.row

A row is a nested structure of arrays. Its file holds, array after array, a
line with the array's name, dtype and shape, and then its bytes:

    control <f4 (3,)
    ............rounds <i4 ()
    ....

This is what `state_files.digest` hashes, so `sha256sum` of a file gives its
name. No file name tells whose row it is: a client's id may be a patient's name.
"""

import contextlib
import hashlib
import os
import re
import threading
import weakref
from collections.abc import Collection, Iterable, Mapping
from typing import Protocol

import numpy as np

from tff_pipeline import errors
from tff_pipeline.files import durable, storage
from tff_pipeline.runs.state_files import (
    Array,
    InvalidCheckpointError,
    array_header,
    pieces,
)

FOLDER = "kept_rows"
_NAME = re.compile("([0-9a-f]{64})[.]row")


class DamagedRowError(InvalidCheckpointError):
    """A row's file does not hold what was written."""


class Holder(Protocol):
    """Something whose rows must not be removed while it is in use."""

    @property
    def row_digests(self) -> Collection[str]:
        """SHA-256 of the rows that it refers to."""


class RowFiles:
    """The row files of one run; two threads may use them at once."""

    def __init__(self, checkpoints: str):
        """Makes the object; the folder is made when the first row is written.

        Args:
          checkpoints: The run's folder of checkpoints.
        """
        self.folder = os.path.join(checkpoints, FOLDER)
        # Held while rows are written and whoever refers to them is not yet
        # known, so that `collect` in another thread does not remove them.
        self.lock = threading.RLock()
        self._holders: weakref.WeakSet[Holder] = weakref.WeakSet()
        # What this process wrote, or read and found right.
        self._sound: set[str] = set()

    def hold(self, holder: Holder) -> None:
        """Keeps the rows of `holder` for as long as it is referenced."""
        with self.lock:
            self._holders.add(holder)

    def write(self, digest: str, arrays: Mapping[str, Array]) -> None:
        """Writes a row and flushes it to disk, unless it is known to be there.

        Args:
          digest: `state_files.digest` of `arrays`.
          arrays: The row's arrays by name.

        Raises:
          RunDirectoryError: If it cannot be written.
        """
        with self.lock:
            # A file of that name from another process may be damaged.
            if digest in self._sound:
                return
            with durable.explained(self.folder):
                storage.file_system(self.folder).make_folder(self.folder)
            content = b"".join(pieces(arrays))
            durable.write_bytes(self._path(digest), content)
            self._sound.add(digest)

    def read(self, digest: str, like: Mapping[str, Array]) -> dict[str, Array]:
        """Reads a row and checks it against its name.

        Args:
          digest: The row's SHA-256.
          like: A row of the same structure; only names, dtypes and shapes
            count.

        Returns:
          The row's arrays by name, in the order of `like`.

        Raises:
          InvalidCheckpointError: If the file is missing, damaged, or of
            another structure.
        """
        path, content, start = self._path(digest), self._content(digest), 0
        arrays: dict[str, Array] = {}
        for name, array in like.items():
            header = array_header(name, array)
            end = start + len(header) + array.nbytes
            if content[start : start + len(header)] != header:
                raise InvalidCheckpointError(
                    f"{path} is of another algorithm: it does not hold "
                    f"{header.decode().strip()} at byte {start}."
                )
            data = memoryview(content)[start + len(header) : end]
            # A copy, for bytes are neither aligned nor writable.
            arrays[name] = np.ndarray(array.shape, array.dtype, data).copy()
            start = end
        if start != len(content):
            raise InvalidCheckpointError(
                f"{path} is of another algorithm: it holds more than "
                f"{', '.join(like)}."
            )
        return arrays

    def check(self, digests: Iterable[str]) -> None:
        """Reads rows, one at a time, and checks them against their names.

        Raises:
          InvalidCheckpointError: If one is missing or damaged.
        """
        for digest in sorted(set(digests)):
            self._content(digest)

    def check_present(self, digests: Iterable[str]) -> None:
        """Looks for rows without reading them; see `check`.

        Raises:
          InvalidCheckpointError: If one is missing, or the folder cannot be
            listed.
        """
        try:
            missing = sorted(set(digests) - self._listed())
        except OSError as error:
            raise InvalidCheckpointError(
                f"{self.folder} cannot be read ({error.strerror or error})."
            ) from None
        if missing:
            raise InvalidCheckpointError(
                f"{self._path(missing[0])} is missing."
            )

    def put_aside(self, digest: str) -> None:
        """Renames a damaged row, so that checkpoints with it are passed over.

        It stays to be looked at, as `.damaged` instead of `.row`.
        """
        path = self._path(digest)
        aside = path[: -len("row")] + "damaged"
        # If it cannot be renamed it is found damaged again.
        with self.lock, contextlib.suppress(OSError):
            self._sound.discard(digest)
            storage.file_system(path).replace(path, aside)

    def collect(self, referred: Collection[str]) -> None:
        """Removes the rows that neither `referred` nor a holder refers to.

        Args:
          referred: SHA-256 of the rows that checkpoints refer to.

        Raises:
          OSError: If the folder cannot be listed or a file not removed.
        """
        with self.lock:
            kept = set(referred).union(
                *(holder.row_digests for holder in self._holders)
            )
            unused = self._listed() - kept
            self._sound -= unused
            for digest in sorted(unused):
                storage.file_system(self.folder).remove(self._path(digest))

    def remove_temporary(self) -> None:
        """Removes what a killed process left half-written.

        Raises:
          OSError: If it cannot be removed.
        """
        if storage.file_system(self.folder).is_folder(self.folder):
            durable.remove_temporary(self.folder)

    def _listed(self) -> set[str]:
        files = storage.file_system(self.folder)
        if not files.is_folder(self.folder):
            return set()
        matches = map(_NAME.fullmatch, files.names(self.folder))
        return {match[1] for match in matches if match}

    def _content(self, digest: str) -> bytes:
        path = self._path(digest)

        def read() -> bytes:
            with durable.explained(path, "read"):
                return storage.file_system(path).read(path)

        try:
            content = durable.repeatedly(read)
        except errors.RunDirectoryError as error:
            raise InvalidCheckpointError(str(error)) from error.__cause__
        if hashlib.sha256(content).hexdigest() != digest:
            raise DamagedRowError(
                f"{path} is damaged: it does not have the SHA-256 that is its "
                "name."
            )
        with self.lock:
            self._sound.add(digest)
        return content

    def _path(self, digest: str) -> str:
        return os.path.join(self.folder, f"{digest}.row")
