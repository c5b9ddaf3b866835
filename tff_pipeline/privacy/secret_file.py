"""Keeps the secret of a private run: drawn once, in a file of its owner's.

Whoever has it can take the noise off what the run released. It is no part of
checkpoints or of anything else in the run directory.
"""

import hashlib
import secrets
from typing import Optional

from tff_pipeline import errors
from tff_pipeline.files import durable, storage
from tff_pipeline.runs.directory import RunDirectory

_BITS = 128


def read_or_draw(path: Optional[str], seed: Optional[int]) -> int:
    """Reads the run's secret, or draws one if there is no file.

    Args:
      path: The file that `keep` wrote, or `None`.
      seed: If set, the secret is a function of it, and none.

    Returns:
      128 bits.

    Raises:
      RunDirectoryError: If the file is there and cannot be read.
    """
    if seed is not None:
        digest = hashlib.sha256(f"seed:{seed}".encode()).digest()
        return int.from_bytes(digest[: _BITS // 8], "big")
    if path is None or not storage.exists(path):
        return secrets.randbits(_BITS)
    try:
        text = storage.read_text(path).strip()
        if len(text) != _BITS // 4:
            raise ValueError(f"it has {len(text)} characters")
        return int(text, 16)
    except (OSError, ValueError) as error:
        raise errors.RunDirectoryError(
            f"{path}, the secret of the run's noise, cannot be read ({error}); "
            "restore it, or start again with --overwrite."
        ) from None


def secret_of_run(
    directory: RunDirectory, seed: Optional[int], overwrite: bool
) -> int:
    """Reads the secret of a run, or draws one for a run that is about to begin.

    Args:
      directory: The run's folder; the run has begun if a statement is there.
      seed: If set, the secret is a function of it, and none.
      overwrite: Whether the run begins anew.

    Returns:
      128 bits.

    Raises:
      RunDirectoryError: If the secret cannot be read, or is gone.
    """
    path = directory.noise_secret
    begun = storage.exists(directory.privacy_json) and not overwrite
    if begun and seed is None and not storage.exists(path):
        # A round that is run again must not be seen with other noise.
        raise errors.RunDirectoryError(
            f"{path}, the secret of the run's noise, does not exist; restore "
            "it, or start again with --overwrite."
        )
    return read_or_draw(None if overwrite else path, seed)


def derived(secret: int, purpose: str) -> bytes:
    """Derives 16 bytes for one use of the secret, which they do not give away.

    Args:
      secret: 128 bits.
      purpose: The use; other uses have other bytes.
    """
    text = f"{purpose}:{secret:0{_BITS // 4}x}"
    return hashlib.sha256(text.encode()).digest()[: _BITS // 8]


def keep(path: str, secret: int) -> None:
    """Writes the secret, unless it is there, readable by its owner alone.

    Args:
      path: The file.
      secret: 128 bits.

    Raises:
      RunDirectoryError: If it cannot be written.
    """
    if storage.exists(path):
        return
    durable.write_text(path, f"{secret:0{_BITS // 4}x}\n", mode=0o600)
