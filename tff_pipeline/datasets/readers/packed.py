"""Reads files that may be gzipped, which their names mostly say by `.gz`."""

import gzip
import os
import zipfile
import zlib

from tff_pipeline import errors

# Errors that `zipfile` raises for files that are damaged, encrypted or packed
# in unknown ways; it documents only the first.
ZIP_ERRORS = (
    *(zipfile.BadZipFile, zlib.error, OSError, EOFError),
    *(ValueError, RuntimeError),
)

_GZIP = b"\x1f\x8b"


def find(data_dir: str, name: str, remedy: str) -> str:
    """Finds a file in a folder, gzipped or plain.

    Args:
      data_dir: The folder.
      name: The file's name without `.gz`.
      remedy: Advice if the file does not exist, the end of the message.

    Returns:
      The file's path, with `.gz` if there is such a file.

    Raises:
      DataError: If neither file exists.
    """
    for end in (".gz", ""):
        path = os.path.join(data_dir, name + end)
        if os.path.exists(path):
            return path
    raise errors.DataError(
        f"{os.path.join(data_dir, name)}.gz does not exist (nor without .gz); "
        f"{remedy}."
    )


def read(path: str) -> bytes:
    """Reads a file, and unpacks it if it is gzipped, whatever its name says.

    Browsers and archivers unpack files without changing their names.

    Args:
      path: The file.

    Returns:
      Its content.

    Raises:
      DataError: If the file cannot be read.
    """
    try:
        with open(path, "rb") as file:
            content = file.read()
    except OSError as error:
        raise errors.DataError(
            f"{path} cannot be read ({error.strerror}); it must be a file that "
            "you may read."
        ) from None
    if not content.startswith(_GZIP):
        return content
    try:
        return gzip.decompress(content)
    except (OSError, EOFError, zlib.error) as error:
        raise errors.DataError(
            f"{path} cannot be read ({error}); it is damaged or only half "
            "there: fetch it again."
        ) from None
