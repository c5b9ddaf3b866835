"""Masked numbers take the bits of their modulus, and come back as they were."""

import hypothesis
import numpy as np
import pytest
from hypothesis import strategies as st

from tff_pipeline.secure_sum import layout, packing
from tff_pipeline.secure_sum.layout import Segment


def by_hand(numbers, bits):
    """The format in Python's integers, number by number."""
    text, place = b"", 0
    for word in (64, 32, 16, 8):
        if bits & word:
            for number in numbers:
                piece = number >> place & ((1 << word) - 1)
                text += piece.to_bytes(word // 8, "little")
            place += word
    rest = bits - place
    row = sum(number >> place << i * rest for i, number in enumerate(numbers))
    return text + row.to_bytes((len(numbers) * rest + 7) // 8, "little")


@hypothesis.given(st.integers(1, 64), st.integers(0, 40), st.integers(0, 2**32))
@hypothesis.settings(max_examples=300, deadline=None, derandomize=True)
def test_the_bytes_are_those_by_hand_and_come_back(bits, count, seed):
    segment = Segment(count, bits)
    drawn = np.random.default_rng(seed).integers(0, 2**64, count, np.uint64)
    numbers = (drawn >> np.uint64(64 - bits)).astype(segment.dtype)
    content = b"".join(packing.pack(numbers, bits))
    assert content == by_hand(numbers.tolist(), bits)
    assert len(content) == segment.num_bytes
    again = packing.unpack(memoryview(content), count, bits, segment.dtype)
    assert again.dtype == segment.dtype
    np.testing.assert_array_equal(again, numbers)


@pytest.mark.parametrize("bits", [1, 7, 11, 27, 62])
def test_no_number_takes_more_than_its_bits(bits):
    assert Segment(8_000, bits).num_bytes == 1_000 * bits


def test_segments_stand_one_after_the_other():
    form = (Segment(3, 20), Segment(0, 5), Segment(1, 9), Segment(2, 32))
    vector = [
        np.array([1, 2**20 - 1, 5], np.uint32),
        np.zeros(0, np.uint8),
        np.array([2**9 - 1], np.uint16),
        np.array([7, 2**32 - 1], np.uint32),
    ]
    content = b"".join(layout.to_bytes(form, vector))
    assert len(content) == layout.num_bytes(form) == 8 + 0 + 2 + 8
    for numbers, again in zip(
        vector, layout.from_bytes(form, memoryview(content))
    ):
        np.testing.assert_array_equal(again, numbers)
