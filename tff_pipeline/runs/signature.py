"""Signs a run's log: an Ed25519 signature of its newest record.

That is the one of the newest checkpoint, of the privacy statement after it or,
in the end, of the exported model.
"""

import base64
import json
from typing import Any

from tff_pipeline import errors
from tff_pipeline.files import durable, storage


class Signer:
    """Signs the heads of a log with a private key."""

    def __init__(self, key_path: str):
        """Reads the private key.

        Args:
          key_path: A PEM file of an Ed25519 private key without a passphrase.

        Raises:
          ConfigError: If it is no such file, or cryptography is not installed.
        """
        ed25519, serialization = _library("--signing_key", key_path)
        from cryptography.exceptions import UnsupportedAlgorithm

        try:
            key = serialization.load_pem_private_key(
                storage.file_system(key_path).read(key_path), password=None
            )
        except (
            OSError,
            ValueError,
            TypeError,
            UnsupportedAlgorithm,
        ) as error:
            raise errors.ConfigError(
                f"--signing_key={key_path} cannot be read ({error}); make one "
                "with: openssl genpkey -algorithm ed25519 -out key.pem"
            ) from None
        if not isinstance(key, ed25519.Ed25519PrivateKey):
            raise errors.ConfigError(
                f"--signing_key={key_path} is no Ed25519 key; make one with: "
                "openssl genpkey -algorithm ed25519 -out key.pem"
            )
        self._key = key
        self._public = key.public_key().public_bytes(
            serialization.Encoding.PEM,
            serialization.PublicFormat.SubjectPublicKeyInfo,
        )

    def write(self, path: str, round_number: int, head: str) -> None:
        """Writes a signature of the log's head after a round.

        Args:
          path: The file to write, JSON.
          round_number: The round of the newest checkpoint.
          head: SHA-256 of the log's last record, with which all before it are
            signed.

        Raises:
          RunDirectoryError: If it cannot be written.
        """
        signature = self._key.sign(_message(round_number, head))
        content = {
            "round": round_number,
            "head": head,
            "signature": base64.b64encode(signature).decode(),
            "public_key": self._public.decode(),
        }
        durable.write_text(path, json.dumps(content, indent=2) + "\n")


def verify(path: str, public_key_path: str) -> dict[str, Any]:
    """Checks a signature and returns what was signed.

    Args:
      path: The file that `Signer.write` wrote.
      public_key_path: A PEM file of the key that must have signed it. The key
        in the signature's own file would prove nothing.

    Returns:
      The content of the file, with its `round` and `head`.

    Raises:
      RunDirectoryError: If it cannot be read, or does not hold.
      ConfigError: If the key cannot be read.
    """
    ed25519, serialization = _library("--public_key", public_key_path)
    # Here, for the package may not be installed.
    from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm

    try:
        key = serialization.load_pem_public_key(
            storage.file_system(public_key_path).read(public_key_path)
        )
        if not isinstance(key, ed25519.Ed25519PublicKey):
            raise ValueError("it is no Ed25519 key")
    except (OSError, ValueError, UnsupportedAlgorithm) as error:
        raise errors.ConfigError(
            f"--public_key={public_key_path} cannot be read ({error}); write "
            "it with: openssl pkey -in key.pem -pubout -out public.pem"
        ) from None
    try:
        content = json.loads(storage.read_text(path))
        message = _message(content["round"], content["head"])
        key.verify(base64.b64decode(content["signature"]), message)
        return content
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise errors.RunDirectoryError(
            f"{path} cannot be read ({type(error).__name__}: {error})."
        ) from None
    except InvalidSignature:
        raise errors.RunDirectoryError(
            f"{path} was not signed with the key of {public_key_path}."
        ) from None


def _message(round_number: int, head: str) -> bytes:
    return f"tff_pipeline round {round_number} {head}".encode()


def _library(flag: str, value: str) -> tuple[Any, Any]:
    try:
        from cryptography.hazmat.primitives import serialization
        from cryptography.hazmat.primitives.asymmetric import ed25519
    except ImportError:
        raise errors.ConfigError(
            f"{flag}={value} needs the package cryptography; install "
            "tff-pipeline[signing]."
        ) from None
    return ed25519, serialization
