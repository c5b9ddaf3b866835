"""Masks: AES in counter mode, uniform on all values (TRAPS X1)."""

import numpy as np
import pytest
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from scipy import stats

from tests.testing.secure_sums import Exchange
from tff_pipeline.secure_sum import layout, masks
from tff_pipeline.secure_sum.layout import Segment

KEY = bytes(range(16))
LEAST = 1e-6


def mask_of(key, form):
    vector = layout.zeros(form)
    masks.add(vector, masks.AesCtr(key))
    return vector


def test_the_stream_is_that_of_nist():
    # SP 800-38A, F.5.1: the first block of CTR is AES of the counter; that of
    # zero under this key is the known answer of FIPS 197's cipher.
    encryptor = Cipher(algorithms.AES(KEY), modes.ECB()).encryptor()
    block = encryptor.update(bytes(16))
    (numbers,) = mask_of(KEY, (Segment(4, 32),))
    assert numbers.tobytes() == block


def test_segments_and_chunks_take_one_stream_in_order():
    form = (Segment(100_001, 32), Segment(3, 8), Segment(70_001, 64))
    whole = bytearray(sum(s.num_bytes for s in form) + 15)
    cipher = Cipher(algorithms.AES(KEY), modes.CTR(bytes(16))).encryptor()
    cipher.update_into(bytes(len(whole) - 15), whole)
    place = 0
    for segment, numbers in zip(form, mask_of(KEY, form)):
        end = place + segment.num_bytes
        assert numbers.tobytes() == whole[place:end]
        place = end


def test_what_was_added_can_be_taken_away():
    form = (Segment(1000, 32), Segment(5, 16))
    vector = mask_of(KEY, form)
    masks.subtract(vector, masks.AesCtr(KEY))
    assert not any(numbers.any() for numbers in vector)


@pytest.mark.parametrize("size", [0, 4, 8, 15])
def test_keys_below_128_bits_are_refused(size):
    with pytest.raises(AssertionError):
        masks.AesCtr(bytes(size))


def test_every_bit_of_a_key_counts():
    """Keys that fold to the same 32 bits by XOR have other masks."""
    form = (Segment(16, 32),)
    (first,) = mask_of(KEY, form)
    for bit in range(128):
        key = (int.from_bytes(KEY, "big") ^ 1 << bit).to_bytes(16, "big")
        assert (mask_of(key, form)[0] != first).mean() > 0.9
    swapped = KEY[4:8] + KEY[:4] + KEY[8:]
    assert (mask_of(swapped, form)[0] != first).any()


@pytest.mark.parametrize("bits", [1, 5, 8, 12])
def test_masked_vectors_are_uniform_on_all_values(bits):
    """Chi-square of what the server gets of a client; the input is constant."""
    form = (Segment(1 << 18, bits),)
    exchange = Exchange(3, form, label=f"uniform {bits}")
    largest = np.full(1 << 18, 2**bits - 1)
    exchange.survivor_lists([[largest]] * 3)
    for raw in masked_messages(exchange):
        counts = np.bincount(raw, minlength=2**bits)
        assert counts.size == 2**bits and counts.all()
        assert stats.chisquare(counts).pvalue > LEAST


@pytest.mark.parametrize("bits", [20, 32, 64])
def test_low_and_high_bits_of_masked_vectors_are_uniform(bits):
    form = (Segment(1 << 16, bits),)
    exchange = Exchange(3, form, label=f"bits {bits}")
    exchange.survivor_lists([[np.zeros(1 << 16, int)]] * 3)
    for raw in masked_messages(exchange):
        for part in (raw & 0xFF, raw >> (bits - 8)):
            counts = np.bincount(part.astype(int), minlength=256)
            assert stats.chisquare(counts).pvalue > LEAST


def masked_messages(exchange):
    """The numbers of the three masked vectors that the server received."""
    (segment,) = exchange.parameters.layout
    long = [m for m in exchange.transcript if len(m) > segment.num_bytes]
    assert len(long) == 3
    return [
        layout.from_bytes(
            (segment,), memoryview(m)[-64 - segment.num_bytes : -64]
        )[0]
        for m in long
    ]
