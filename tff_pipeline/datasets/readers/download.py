"""Fetches files once into a folder: whole, or not at all.

A download goes to a temporary name in the folder, is unpacked and checked
there, and renamed when it is complete. Remains of a broken connection or a
killed process are never taken for the file.
"""

import contextlib
import fcntl
import hashlib
import http.client
import lzma
import os
import urllib.error
import urllib.request
from collections.abc import Iterator
from typing import IO, Optional

from tff_pipeline import errors
from tff_pipeline.files.durable import TEMPORARY

_CHUNK = 2**20
# Seconds of silence until a connection counts as broken.
_TIMEOUT = 30.0


class _Incomplete(Exception):
    """A download is incomplete or damaged."""


def file(origin: str, folder: str, sha256: Optional[str] = None) -> str:
    """Fetches a file into a folder, unless it is there already.

    A file whose name ends in `.lzma` is unpacked. A file that a user has put
    into the folder, packed or not, is used.

    Args:
      origin: The file's URL, whose last part is its name.
      folder: The folder, which is made if it does not exist.
      sha256: SHA-256 of the file as it is fetched, in hexadecimal; `None` if
        it is not known.

    Returns:
      The file's path, without `.lzma`.

    Raises:
      DataError: If the file cannot be fetched or is damaged; `folder` is then
        as before.
    """
    name = origin.rsplit("/", 1)[-1]
    packed = os.path.join(folder, name)
    path = packed.removesuffix(".lzma")
    if os.path.exists(path):
        if path == packed and sha256 is not None:
            _check_hash(path, origin, sha256)
        return path
    here = os.path.exists(packed)
    source = packed if here else origin
    try:
        os.makedirs(folder, exist_ok=True)
        with _locked(os.path.join(folder, TEMPORARY + name)) as output:
            # Another process may have finished while this one waited.
            if not os.path.exists(path):
                print(f"Fetching {source} to {path}", flush=True)
                with _open(source, here) as (stream, length):
                    _copy(stream, length, output, path != packed, sha256)
                output.flush()
                os.fsync(output.fileno())
                os.replace(output.name, path)
    except (
        *(OSError, http.client.HTTPException, ValueError),
        *(lzma.LZMAError, _Incomplete),
    ) as error:
        reason = getattr(error, "reason", None) or error
        remedy = (
            "fetch it again"
            if here
            else f"fetch it by other means and put it into {folder}"
        )
        raise errors.DataError(
            f"{source} could not be fetched to {path} ({reason}); {remedy}."
        ) from None
    return path


@contextlib.contextmanager
def _locked(path: str) -> Iterator[IO[bytes]]:
    """Opens an empty file for this process alone, and removes it at the end."""
    with open(path, "ab") as output:
        try:
            fcntl.flock(output, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise _Incomplete("another process is fetching it") from None
        try:
            # A killed process may have left something.
            output.truncate(0)
            yield output
        finally:
            with contextlib.suppress(FileNotFoundError):
                os.remove(path)


@contextlib.contextmanager
def _open(source: str, here: bool) -> Iterator[tuple[IO[bytes], Optional[int]]]:
    """Opens a file or a URL; yields it and its length in bytes, if known."""
    if here:
        with open(source, "rb") as stream:
            yield stream, None
    else:
        with urllib.request.urlopen(source, timeout=_TIMEOUT) as response:
            length = response.headers.get("content-length")
            yield response, None if length is None else int(length)


def _copy(
    stream: IO[bytes],
    length: Optional[int],
    output: IO[bytes],
    unpack: bool,
    sha256: Optional[str],
) -> None:
    """Copies a stream; raises `_Incomplete` if it ends early or is damaged."""
    decompressor = lzma.LZMADecompressor()
    digest = hashlib.sha256()
    count = 0
    while chunk := stream.read(_CHUNK):
        count += len(chunk)
        digest.update(chunk)
        if not unpack:
            output.write(chunk)
        elif not decompressor.eof:
            output.write(decompressor.decompress(chunk))
    if length is not None and count != length:
        raise _Incomplete(f"it ended after {count} of {length} bytes")
    if unpack and not decompressor.eof:
        raise _Incomplete(f"it is cut short, after {count} bytes")
    if sha256 is not None and digest.hexdigest() != sha256:
        raise _Incomplete(f"its SHA-256 is {digest.hexdigest()}, not {sha256}")


def _check_hash(path: str, origin: str, sha256: str) -> None:
    with open(path, "rb") as content:
        digest = hashlib.sha256(content.read()).hexdigest()
    if digest != sha256:
        raise errors.DataError(
            f"{path} has the SHA-256 {digest}, not {sha256}; remove it, and "
            f"it is fetched again from {origin}."
        )
