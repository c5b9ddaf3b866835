"""Reads WAV files of every kind that recorders and converters write.

Python's `wave` knows whole numbers alone, and takes a header's sizes at their
word. A program that writes into a pipe cannot know them, and states 0 or the
largest number.
"""

import struct
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from tff_pipeline import errors

Array = npt.NDArray[Any]

_CONTAINERS = (b"RIFF", b"RF64", b"BW64")
_PCM, _FLOAT, _EXTENSIBLE = 1, 3, 0xFFFE
_CODES = {2: "ADPCM", 6: "A-law", 7: "mu-law", 17: "ADPCM", 85: "MP3"}
# A data chunk of this size or more has no known size.
_UNKNOWN = 0x7FFF0000
# Chunks that may follow on one of no samples.
_AFTER = (b"LIST", b"id3 ", b"ID3 ", b"cue ", b"smpl", b"bext", b"JUNK")
# Samples as fractions may pass 1 a little; these are in other units.
_TOO_LOUD = 2.0


class _Format(NamedTuple):
    code: int
    channels: int
    rate: int
    width: int  # Bytes of a sample.


class Recording(NamedTuple):
    """The beginning of a recording.

    Attributes:
      channels: The number of channels.
      rate: Samples per second.
      samples: int16 [frames, channels].
    """

    channels: int
    rate: int
    samples: Array


def read(path: str, content: bytes, most: int) -> Recording:
    """Reads the first samples of a WAV file as 16-bit numbers.

    Samples of 8 bits are scaled up; of 24 and 32 bits the upper 16 are kept;
    fractions from -1 to 1 (32- and 64-bit floating) are scaled and clipped.

    Args:
      path: The file's name, for errors.
      content: Its bytes.
      most: The number of samples of each channel to read at most.

    Raises:
      DataError: If it is no WAV file, is coded (such as mu-law), holds no
        samples, or ends before those that it promises.
    """
    form, data, promised = _chunks(path, content)
    if form.code not in (_PCM, _FLOAT):
        name = _CODES.get(form.code, f"number {form.code}")
        raise errors.DataError(
            f"{path} is coded as {name}; convert it to PCM (ffmpeg -i IN.wav "
            "-c:a pcm_s16le OUT.wav)."
        )
    frame = form.width * form.channels
    frames = min(promised // frame, most)
    if not promised // frame:
        raise errors.DataError(
            f"{path} holds 0 samples; record it again or remove it."
        )
    if len(data) < frames * frame:
        raise errors.DataError(
            f"{path} holds {len(data) // frame} samples where its header "
            f"promises {promised // frame}; it is cut off: fetch or write it "
            "again."
        )
    values = _as_int16(path, data[: frames * frame], form)
    samples = values.reshape(frames, form.channels)
    return Recording(form.channels, form.rate, samples)


def _chunks(path: str, content: bytes) -> tuple[_Format, bytes, int]:
    """Returns the format, the data's bytes, and how many were promised."""
    if content[:4] not in _CONTAINERS or content[8:12] != b"WAVE":
        raise errors.DataError(
            f"{path} is no WAV file (it starts with the bytes "
            f"{content[:4].hex() or 'none'}); convert it to WAV or remove it."
        )
    form = None
    place = 12
    while place + 8 <= len(content):
        name = content[place : place + 4]
        (size,) = struct.unpack_from("<I", content, place + 4)
        body = content[place + 8 : place + 8 + size]
        if name == b"fmt ":
            form = _format(path, body)
        elif name == b"data" and form is not None:
            rest = content[place + 8 :]
            unfinished = size == 0 and rest[:4] not in _AFTER
            if unfinished or size >= _UNKNOWN:
                return form, rest, len(rest)
            return form, body, size
        # A chunk of odd size has a byte after it.
        place += 8 + size + size % 2
    missing = "data" if form else "a format"
    raise errors.DataError(
        f"{path} ends before the part of a WAV file that holds {missing}; it "
        "is cut off: fetch or write it again."
    )


def _format(path: str, body: bytes) -> _Format:
    if len(body) >= 16:
        code, channels, rate, _, align, bits = struct.unpack_from(
            "<HHIIHH", body
        )
        if code == _EXTENSIBLE and len(body) >= 26:
            # The first two bytes of the format's GUID.
            (code,) = struct.unpack_from("<H", body, 24)
        width = align // channels if channels else 0
        widths = {_PCM: (1, 2, 3, 4), _FLOAT: (4, 8)}.get(code)
        fits = 0 < bits <= 8 * width and align == width * channels
        if widths is None or (fits and width in widths):
            return _Format(code, channels, rate, width)
    raise errors.DataError(
        f"{path} has a WAV header that says nothing sensible of its samples; "
        "it is damaged: fetch or write it again."
    )


def _as_int16(path: str, data: bytes, form: _Format) -> Array:
    """Converts samples to int16 [number]."""
    if form.code == _FLOAT:
        fractions = np.frombuffer(data, f"<f{form.width}").astype(np.float64)
        # False for NaN too.
        if not (np.abs(fractions) <= _TOO_LOUD).all():
            raise errors.DataError(
                f"{path} holds floating-point samples that are not between -1 "
                "and 1; scale them, or save it with 16 bits."
            )
        scaled = np.rint(fractions * 2**15)
        return np.clip(scaled, -(2**15), 2**15 - 1).astype(np.int16)
    if form.width == 1:
        unsigned = np.frombuffer(data, np.uint8).astype(np.int16)
        return (unsigned - 128) * 256
    upper = np.frombuffer(data, np.uint8).reshape(-1, form.width)[:, -2:]
    return np.ascontiguousarray(upper).view("<i2")[:, 0].astype(np.int16)
