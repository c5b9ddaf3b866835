"""Shares of a secret: any t give it, and t - 1 of them say nothing."""

import itertools
import os

import numpy as np
import pytest

from tests.testing.secure_sums import source
from tff_pipeline.secure_sum import shamir
from tff_pipeline.secure_sum.refusals import ForgedMessageError

SECRETS = [bytes(32), b"\xff" * 32, bytes(range(32))]


def test_the_prime_is_one():
    assert all(shamir.PRIME % n for n in range(2, 256))
    assert shamir.PRIME < 2**16


@pytest.mark.parametrize("secret", SECRETS)
def test_any_threshold_shares_give_the_secret(secret):
    points = [1, 2, 5, 7, 65520]
    shares = shamir.share([secret], points, 3, source("any"))
    for chosen in itertools.combinations(range(5), 3):
        found = shamir.combine(
            [points[i] for i in chosen], [shares[i, 0] for i in chosen]
        )
        assert found == secret


def test_one_share_of_many_is_a_polynomial_by_hand():
    drawn = []

    def random_bytes(size):
        drawn.append(np.frombuffer(os.urandom(size), "<u2"))
        return drawn[-1].tobytes()

    shares = shamir.share([bytes([7]) + bytes(31)], [3], 2, random_bytes)
    # Digit 0 of the secret is 7, and its slope the first number drawn.
    if (drawn[0] < shamir.PRIME).all():
        expected = (7 + 3 * int(drawn[0][0])) % shamir.PRIME
        assert shares[0, 0, 0] == expected


def test_fewer_shares_are_of_every_secret():
    """For any other secret there are coefficients that give the same shares."""
    points = [1, 2, 3, 4, 5]
    shares = shamir.share([SECRETS[2]], points, 4, source("fewer"))
    for other in SECRETS[:2]:
        # Through the other secret at 0 and three shares goes a polynomial of
        # degree 3, whose value at the fourth point is a possible share.
        digits = np.array(
            [
                int.from_bytes(other, "little")
                // shamir.PRIME**i
                % shamir.PRIME
                for i in range(17)
            ]
        )
        x = [0, *points[:3]]
        y = np.vstack([digits, shares[:3, 0].astype(int)])
        fourth = np.array(
            [
                sum(
                    int(y[i, digit]) * lagrange(x, i, points[3])
                    for i in range(4)
                )
                % shamir.PRIME
                for digit in range(17)
            ],
            np.uint16,
        )
        found = shamir.combine(points[:4], [*shares[:3, 0], fourth])
        assert found == other


def lagrange(points, place, at):
    value = 1
    for other, point in enumerate(points):
        if other != place:
            below = pow(points[place] - point, -1, shamir.PRIME)
            value = value * (at - point) * below % shamir.PRIME
    return value


def test_large_thresholds_are_exact():
    points = list(range(1, 1001))
    shares = shamir.share([SECRETS[1]], points, 667, source("large"))
    assert shamir.combine(points[-667:], shares[-667:, 0]) == SECRETS[1]


def test_a_share_is_uniform():
    shares = shamir.share([bytes(32)] * 4000, [9], 2, source("uniform"))
    counts = np.histogram(shares, 64, (0, shamir.PRIME))[0]
    expected = shares.size / 64
    assert ((counts - expected) ** 2 / expected).sum() < 160  # 1e-9 of 63.


def test_numbers_outside_of_the_field_are_drawn_again():
    numbers = iter([[65535, 3], [65521], [65520]])

    def random_bytes(size):
        return np.array(next(numbers), "<u2").tobytes()

    assert shamir._uniform(2, random_bytes).tolist() == [65520, 3]


def test_shares_of_no_secret_are_refused():
    with pytest.raises(ForgedMessageError, match="no secret"):
        shamir.combine([1], [np.full(17, shamir.PRIME - 1)])
