"""Keys of a secure sum: signatures, agreement, derivation, sealed shares."""

import hashlib

from cryptography.exceptions import InvalidSignature, InvalidTag
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import (
    Ed25519PrivateKey,
    Ed25519PublicKey,
)
from cryptography.hazmat.primitives.asymmetric.x25519 import (
    X25519PrivateKey,
    X25519PublicKey,
)
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from tff_pipeline.secure_sum.masks import KEY_BYTES
from tff_pipeline.secure_sum.parameters import Parameters
from tff_pipeline.secure_sum.refusals import ForgedMessageError

SIGNATURE_BYTES = 64
PUBLIC_BYTES = 32
TAG_BYTES = 16
_PURPOSE = b"tff_pipeline secure sum 1 "
# Each key seals one message.
_NONCE = bytes(12)


def public_bytes(
    key: "Ed25519PrivateKey | X25519PrivateKey",
) -> bytes:
    """Returns the public key of a private one, 32 bytes.

    Args:
      key: The private key.
    """
    return key.public_key().public_bytes(
        serialization.Encoding.Raw, serialization.PublicFormat.Raw
    )


def sign(identity: Ed25519PrivateKey, *parts: "bytes | memoryview") -> bytes:
    """Signs the parts of a message, 64 bytes.

    Args:
      identity: The sender's key.
      *parts: The message, in pieces.
    """
    return identity.sign(_hashed(*parts))


def verify(
    identity: bytes, signature: bytes, *parts: "bytes | memoryview"
) -> None:
    """Checks a signature of `sign`.

    Args:
      identity: The public key of the sender, from the directory.
      signature: The signature, 64 bytes.
      *parts: The message, in pieces.

    Raises:
      ForgedMessageError: If the sender has not signed the message.
    """
    try:
        Ed25519PublicKey.from_public_bytes(identity).verify(
            signature, _hashed(*parts)
        )
    except InvalidSignature:
        raise ForgedMessageError(
            "A message is not signed by the client that it names as its sender."
        ) from None


def agree(private: X25519PrivateKey, public: bytes) -> bytes:
    """Computes the secret of two clients.

    Args:
      private: The one's private key.
      public: The other's public key, 32 bytes.

    Raises:
      ForgedMessageError: If the public key is one that gives the same secret
        to everyone.
    """
    try:
        return private.exchange(X25519PublicKey.from_public_bytes(public))
    except ValueError:
        raise ForgedMessageError("A client's public key is none.") from None


def derive(
    parameters: Parameters, secret: bytes, purpose: str, *clients: int
) -> bytes:
    """Derives a key for one use, 16 bytes (HKDF with SHA-256, RFC 5869).

    Args:
      parameters: The sum's; session and round enter the key.
      secret: At least 256 bits that nobody can guess.
      purpose: What the key is for.
      *clients: Whose key it is, in order.
    """
    numbers = (parameters.round_number, *clients)
    info = _PURPOSE + purpose.encode()
    for number in numbers:
        info += number.to_bytes(8, "big")
    return HKDF(hashes.SHA256(), KEY_BYTES, parameters.session, info).derive(
        secret
    )


def pair_mask_key(
    parameters: Parameters, private: X25519PrivateKey, public: bytes, *pair: int
) -> bytes:
    """Derives the key of the mask that two clients share.

    Args:
      parameters: The sum's.
      private: The mask key of one of them.
      public: The mask key of the other, 32 bytes.
      *pair: Both clients' numbers, in any order.
    """
    secret = agree(private, public)
    return derive(parameters, secret, "pair mask", *sorted(pair))


def own_mask_key(parameters: Parameters, seed: bytes, client: int) -> bytes:
    """Derives the key of the mask that is one client's own.

    Args:
      parameters: The sum's.
      seed: The client's seed, 32 random bytes.
      client: The client's number.
    """
    return derive(parameters, seed, "own mask", client)


def seal(key: bytes, content: bytes, header: bytes) -> bytes:
    """Encrypts a message with AES-128-GCM.

    Args:
      key: A key that seals nothing else.
      content: What is to stay secret.
      header: What is not secret, but must not be changed either.
    """
    return AESGCM(key).encrypt(_NONCE, content, header)


def unseal(key: bytes, sealed: bytes, header: bytes) -> bytes:
    """Decrypts what `seal` encrypted.

    Args:
      key: The key.
      sealed: The encrypted content.
      header: The header.

    Raises:
      ForgedMessageError: If content or header were changed.
    """
    try:
        return AESGCM(key).decrypt(_NONCE, sealed, header)
    except InvalidTag:
        raise ForgedMessageError(
            "The sealed shares of a client were changed on their way."
        ) from None


def _hashed(*parts: "bytes | memoryview") -> bytes:
    """The text that is signed: a long message would be read twice for it."""
    sha256 = hashlib.sha256()
    for part in parts:
        sha256.update(part)
    return _PURPOSE + b"message " + sha256.digest()
