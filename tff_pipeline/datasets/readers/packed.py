"""Files that may be gzipped: their name then ends in `.gz`."""

import gzip
import os
import zipfile
import zlib

from tff_pipeline import errors

# What `zipfile` raises for files that are damaged, encrypted or packed in ways
# that it does not know; it documents the first alone.
ZIP_ERRORS = (
    *(zipfile.BadZipFile, zlib.error, OSError, EOFError),
    *(ValueError, RuntimeError),
)


def find(data_dir: str, name: str, remedy: str) -> str:
    """The path of `name` in a folder, packed (`.gz`) or plain.

    Args:
      data_dir: The folder.
      name: The file's name without `.gz`.
      remedy: What to do if there is neither: the end of the error's sentence.

    Raises:
      DataError: If there is neither.
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
    """The content of a file, unpacked if its name ends in `.gz`.

    Raises:
      DataError: If it cannot be read; it is named.
    """
    try:
        with open(path, "rb") as file:
            content = file.read()
        return gzip.decompress(content) if path.endswith(".gz") else content
    except (OSError, EOFError, zlib.error) as error:
        raise errors.DataError(
            f"{path} cannot be read ({error}); fetch it again."
        ) from None
