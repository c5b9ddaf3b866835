"""WAV files as recorders, ffmpeg and sound libraries write them."""

import struct

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tff_pipeline import errors
from tff_pipeline.datasets.readers import wav_file

SAMPLES = np.random.default_rng(0).integers(-(2**15), 2**15, 50)
SAMPLES[:3] = 0, -(2**15), 2**15 - 1
PCM, FLOAT, EXTENSIBLE = 1, 3, 0xFFFE
# The rest of the format's GUID; its first two bytes are the code.
GUID = bytes.fromhex("0000000010008000 00aa00389b71")


def form(code=PCM, bits=16, channels=1, rate=8000, extensible=False):
    align = channels * ((bits + 7) // 8)
    body = struct.pack(
        "<HHIIHH",
        EXTENSIBLE if extensible else code,
        channels,
        rate,
        rate * align,
        align,
        bits,
    )
    if extensible:
        body += struct.pack("<HHIH", 22, bits, 4, code) + GUID
    return body


def chunk(name, body, size=None):
    size = len(body) if size is None else size
    return name + struct.pack("<I", size) + body + b"\0" * (len(body) % 2)


def wav(data, fmt=None, before=b"", after=b"", size=None, head=b"RIFF"):
    body = chunk(b"fmt ", form() if fmt is None else fmt) + before
    body += chunk(b"data", data, size) + after
    total = size if size and size > 2**31 - 1 else len(body) + 4
    return head + struct.pack("<I", total) + b"WAVE" + body


def read(content, most=8000):
    return wav_file.read("a.wav", content, most).samples[:, 0].tolist()


def refused(content, *words):
    with pytest.raises(errors.DataError) as caught:
        wav_file.read("a.wav", content, 8000)
    for word in ("a.wav", *words):
        assert word in str(caught.value)


DATA = SAMPLES.astype("<i2").tobytes()


@pytest.mark.parametrize("extensible", [False, True])
@pytest.mark.parametrize("bits", [16, 24, 32])
def test_whole_numbers_keep_their_upper_16_bits(bits, extensible):
    shifted = (SAMPLES.astype(np.int64) << (bits - 16)) + (bits > 16)
    data = b"".join(
        int(value).to_bytes(bits // 8, "little", signed=True)
        for value in shifted
    )
    content = wav(data, form(bits=bits, extensible=extensible))
    assert read(content) == SAMPLES.tolist()


@pytest.mark.parametrize("extensible", [False, True])
def test_8_bits_are_unsigned_and_scaled_up(extensible):
    fmt = form(bits=8, extensible=extensible)
    found = read(wav(bytes([128, 0, 255, 129]), fmt))
    assert found == [0, -32768, 32512, 256]


@pytest.mark.parametrize("extensible", [False, True])
@pytest.mark.parametrize("bits", [32, 64])
def test_fractions_are_scaled_and_clipped(bits, extensible):
    values = np.append(SAMPLES / 2**15, [1.0, -1.5])
    fmt = form(FLOAT, bits, extensible=extensible)
    found = read(wav(values.astype(f"<f{bits // 8}").tobytes(), fmt))
    assert found == [*SAMPLES.tolist(), 32767, -32768]


@pytest.mark.parametrize("value", [np.nan, np.inf, 3000.0])
def test_fractions_in_other_units_are_refused(value):
    data = np.array([0.5, value], "<f4").tobytes()
    refused(wav(data, form(FLOAT, 32)), "not between -1 and 1")


@pytest.mark.parametrize("size", [0, 0x7FFFF000, 0x80000000, 0xFFFFFFFF])
def test_a_size_that_a_pipe_cannot_know_is_not_believed(size):
    assert read(wav(DATA, size=size)) == SAMPLES.tolist()
    assert read(wav(DATA, size=size, head=b"RF64")) == SAMPLES.tolist()


def test_chunks_before_and_after_are_passed_over():
    odd = chunk(b"LIST", b"INFOISFT\x05\0\0\0Lavf5")
    ds64 = chunk(b"ds64", bytes(28))
    assert len(odd) % 2 == 0
    content = wav(DATA, before=odd + ds64, after=odd)
    assert read(content) == SAMPLES.tolist()
    # Without samples, what follows are none.
    refused(wav(b"", after=odd), "holds 0 samples")


def test_only_the_first_samples_are_read():
    assert read(wav(DATA), 3) == SAMPLES[:3].tolist()
    # Where they are there, what is cut off later does not matter.
    assert read(wav(DATA)[:-20], 40) == SAMPLES[:40].tolist()
    refused(wav(DATA)[:-20], "holds 40 samples where its header promises 50")


def test_channels_are_columns():
    fmt = form(channels=2, rate=44100)
    found = wav_file.read("a.wav", wav(DATA, fmt), 8000)
    assert (found.channels, found.rate) == (2, 44100)
    np.testing.assert_array_equal(found.samples, SAMPLES.reshape(-1, 2))


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (wav(DATA, form(7, 8)), "mu-law; convert it to PCM"),
        (wav(DATA, form(85, 16)), "coded as MP3"),
        (wav(DATA, form(999, 16)), "number 999"),
        (wav(DATA, form(PCM, 64)), "nothing sensible"),
        (wav(DATA, form(FLOAT, 16)), "nothing sensible"),
        (wav(DATA, form(channels=0)), "nothing sensible"),
        (wav(DATA, form()[:10]), "nothing sensible"),
        (b"ID3\x03" + bytes(40), "is no WAV file (it starts with the bytes"),
        (b"RIFF\0\0\0\0AVI " + bytes(40), "is no WAV file"),
        (wav(DATA)[:14], "holds a format; it is cut off"),
        (wav(DATA)[:40], "holds data; it is cut off"),
    ],
)
def test_what_is_no_samples_is_refused(content, words):
    refused(content, words)


@given(st.binary(max_size=60), st.booleans())
def test_any_bytes_are_samples_or_a_data_error(content, begins_well):
    if begins_well:
        content = b"RIFF\0\0\0\0WAVE" + content
    try:
        found = wav_file.read("a.wav", content, 10)
    except errors.DataError as error:
        assert "a.wav" in str(error)
    else:
        assert found.samples.dtype == np.int16
