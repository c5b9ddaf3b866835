"""The secret of a private run: drawn once, kept in a file of its owner's.

Whoever has it can take the noise off what the run released. It is no part of
checkpoints or of anything else in the run directory.
"""

import hashlib
import os
import secrets
from typing import Optional

from tff_pipeline import durable, errors

_BITS = 128


def read_or_draw(path: Optional[str], seed: Optional[int]) -> int:
    """The run's secret; a new one if there is no file.

    Args:
      path: Where `keep` put it, if it did.
      seed: If given, the secret is a function of it, and none.

    Raises:
      RunDirectoryError: If the file is there and cannot be read.
    """
    if seed is not None:
        digest = hashlib.sha256(f"seed:{seed}".encode()).digest()
        return int.from_bytes(digest[: _BITS // 8], "big")
    if path is None or not os.path.exists(path):
        return secrets.randbits(_BITS)
    try:
        with open(path, encoding="ascii") as file:
            text = file.read().strip()
        if len(text) != _BITS // 4:
            raise ValueError(f"it has {len(text)} characters")
        return int(text, 16)
    except (OSError, ValueError) as error:
        raise errors.RunDirectoryError(
            f"{path}, the secret of the run's noise, cannot be read ({error}); "
            "restore it, or start again with --overwrite."
        ) from None


def keep(path: str, secret: int) -> None:
    """Writes it, if it is not there, for its owner's eyes alone.

    Raises:
      RunDirectoryError: If it cannot be written.
    """
    if os.path.exists(path):
        return
    durable.write_text(path, f"{secret:0{_BITS // 4}x}\n", mode=0o600)
