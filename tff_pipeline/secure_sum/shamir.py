"""Shares a secret: any `threshold` shares give it, and fewer tell nothing.

Shamir 1979, "How to Share a Secret", over the field of the integers modulo
65521, the largest prime below 2^16. A secret of 32 bytes is 17 digits to that
base; each is the constant of a polynomial of its own, whose other coefficients
are uniform, and a share is the polynomials' values at the holder's point.

Numbers below 2^16 are multiplied and summed up without rounding in float64, as
long as there are at most 2^21 of them, so that all shares of a secret are one
product of matrices.
"""

import functools
from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt

from tff_pipeline.secure_sum.refusals import ForgedMessageError

PRIME = 65521
SECRET_BYTES = 32
_DIGITS = 17
SHARE_BYTES = 2 * _DIGITS
MOST_HOLDERS = PRIME - 1

Shares = npt.NDArray[np.uint16]
RandomBytes = Callable[[int], bytes]


def share(
    secrets: Sequence[bytes],
    points: Sequence[int],
    threshold: int,
    random_bytes: RandomBytes,
) -> Shares:
    """Makes a share of each secret for each holder.

    Args:
      secrets: Secrets of 32 bytes each.
      points: The holders' points, distinct, from 1 to 65520.
      threshold: How many shares give a secret.
      random_bytes: Returns as many random bytes as it is asked for, such as
        `os.urandom`.

    Returns:
      uint16 [holders, secrets, 17].
    """
    digits = np.array([_to_digits(secret) for secret in secrets]).reshape(-1)
    drawn = _uniform((threshold - 1) * digits.size, random_bytes)
    coefficients = np.vstack(
        [digits[np.newaxis], drawn.reshape(threshold - 1, digits.size)]
    )
    values = _powers(tuple(points), threshold) @ coefficients.astype(float)
    whole = values.astype(np.int64) % PRIME
    return whole.astype(np.uint16).reshape(len(points), len(secrets), _DIGITS)


def combine(points: Sequence[int], shares: Sequence[Shares]) -> bytes:
    """Recovers a secret.

    Args:
      points: The points of as many holders as the threshold; fewer or wrong
        shares give another secret, which only its user can notice.
      shares: For each of them its share, uint16 [17].

    Returns:
      The secret, 32 bytes.

    Raises:
      ForgedMessageError: If the digits are of no secret.
    """
    weights = _weights_at_zero(tuple(points))
    digits = (weights @ np.array(shares, float)).astype(np.int64) % PRIME
    number = 0
    for digit in digits[::-1].tolist():
        number = number * PRIME + digit
    if number >> (8 * SECRET_BYTES):
        raise ForgedMessageError("The shares of a client give no secret.")
    return number.to_bytes(SECRET_BYTES, "little")


def _to_digits(secret: bytes) -> list[int]:
    """Writes a secret to the base of the field, the lowest digit first."""
    assert len(secret) == SECRET_BYTES
    number, digits = int.from_bytes(secret, "little"), []
    for _ in range(_DIGITS):
        number, digit = divmod(number, PRIME)
        digits.append(digit)
    return digits


def _uniform(count: int, random_bytes: RandomBytes) -> npt.NDArray[np.uint16]:
    """Draws numbers below the prime: what is not is drawn again."""
    drawn = np.frombuffer(random_bytes(2 * count), "<u2").astype(np.uint16)
    while (outside := drawn >= PRIME).any():
        again = random_bytes(2 * int(outside.sum()))
        drawn[outside] = np.frombuffer(again, "<u2")
    return drawn


@functools.lru_cache(maxsize=64)
def _powers(points: tuple[int, ...], count: int) -> npt.NDArray[np.float64]:
    """The first powers of all points, float64 [points, count]."""
    column = np.ones(len(points), np.int64)
    powers = np.empty([len(points), count])
    for power in range(count):
        powers[:, power] = column
        column = column * points % PRIME
    return powers


@functools.lru_cache(maxsize=64)
def _weights_at_zero(points: tuple[int, ...]) -> npt.NDArray[np.float64]:
    """Lagrange's weights: the value at 0 is their product with the shares."""
    x = np.array(points, np.int64)
    above, below = np.ones_like(x), np.ones_like(x)
    for place, point in enumerate(points):
        others = np.arange(x.size) != place
        above[others] = above[others] * point % PRIME
        below[others] = below[others] * ((point - x[others]) % PRIME) % PRIME
    inverse = np.array([pow(int(each), -1, PRIME) for each in below])
    return (above * inverse % PRIME).astype(float)
