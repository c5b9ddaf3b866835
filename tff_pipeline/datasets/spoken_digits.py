"""Reads spoken digits from WAV files named `{digit}_{speaker}_{index}.wav`.

The format is that of the Free Spoken Digit Dataset (Jackson et al., FSDD), of
six speakers with 50 recordings of each digit. Any recordings with such names
will do, in a folder or in a zip file, which is read in place and never
extracted.
"""

import contextlib
import functools
import io
import pathlib
import re
import wave
import zipfile
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from tff_pipeline import errors
from tff_pipeline.datasets.federation.federated_data import Examples
from tff_pipeline.datasets.readers import packed

Array = npt.NDArray[Any]

RATE = 8000  # Samples per second, and samples of a recording.
_NAME = re.compile(r"(\d)_(.+)_(\d+)\.wav")
# FSDD tests on these indices of every speaker and digit.
_TEST_INDICES = range(5)
# A second is 16 kB; files that state a much larger size are no recordings.
_MOST_BYTES = 10_000_000

Reader = Callable[[], bytes]


def load(data_dir: str) -> tuple[Examples, Examples, Array, Array]:
    """Reads all recordings, cut or padded with silence to one second.

    Args:
      data_dir: A folder of WAV files or of one zip file, or a zip file.

    Returns:
      (train, test, owners, test_owners). `x` is int16 [n, 8000], `y` int32 [n]
      with values from 0 to 9; owners are the speakers' names, str [n]. Indices
      0 to 4 of every speaker and digit are to test on, 300 of FSDD's 3,000
      recordings.

    Raises:
      DataError: If there are no recordings, or one is damaged, misnamed, not
        mono, not of 16 bits or not of 8 kHz; the message names it.
    """
    waves, labels, speakers, tests = [], [], [], []
    with contextlib.ExitStack() as stack:
        for path, read in _recordings(data_dir, stack):
            match = _NAME.fullmatch(re.split(r"[/\\]", path)[-1])
            if match is None:
                raise errors.DataError(
                    f"{path} is not named {{digit}}_{{speaker}}_{{index}}.wav, "
                    "such as 7_jackson_32.wav; rename or remove it."
                )
            waves.append(_second(path, read))
            labels.append(int(match[1]))
            speakers.append(match[2])
            tests.append(int(match[3]) in _TEST_INDICES)
    if not waves:
        raise errors.DataError(
            f"{data_dir} holds no .wav file; --data_dir must name a folder of "
            "recordings such as 7_jackson_32.wav, or of fsdd.zip."
        )
    everything = Examples(np.stack(waves), np.array(labels, np.int32))
    owners, test = np.array(speakers), np.array(tests)
    if test.all() or not test.any():
        raise errors.DataError(
            f"{data_dir} holds {test.sum()} recordings of index 0 to 4, which "
            f"are for testing, and {(~test).sum()} of others, to train on; add "
            "some of the kind that is missing."
        )
    return (
        everything.take(np.flatnonzero(~test)),
        everything.take(np.flatnonzero(test)),
        owners[~test],
        owners[test],
    )


def _recordings(
    data_dir: str, stack: contextlib.ExitStack
) -> Iterator[tuple[str, Reader]]:
    """Yields (path, function that reads it), in the order of the paths."""
    place = pathlib.Path(data_dir)
    if not place.exists():
        raise errors.DataError(
            f"{data_dir} does not exist; --data_dir must name the folder of "
            "fsdd.zip or of its recordings."
        )
    if place.is_dir():
        waves = sorted(
            path
            for path in place.rglob("*.wav")
            if not path.name.startswith(".")
        )
        for path in waves:
            yield str(path), path.read_bytes
        if waves:
            return
        zips = sorted(place.glob("*.zip"))
        if not zips:
            return
        if len(zips) > 1:
            raise errors.DataError(
                f"{data_dir} holds {len(zips)} zip files; let --data_dir name "
                "one of them."
            )
        place = zips[0]
    yield from _zipped(str(place), stack)


def _zipped(
    path: str, stack: contextlib.ExitStack
) -> Iterator[tuple[str, Reader]]:
    try:
        archive = stack.enter_context(zipfile.ZipFile(path))
    except packed.ZIP_ERRORS as error:
        raise errors.DataError(
            f"{path} cannot be read as a zip file ({error}); fetch it again."
        ) from None
    for info in sorted(archive.infolist(), key=lambda info: info.filename):
        name = info.filename
        folders = re.split(r"[/\\]", name)
        # Nothing is extracted, but a file with such names cannot be trusted.
        if ".." in folders or not folders[0] or ":" in folders[0]:
            raise errors.DataError(
                f"{path} holds the name {name!r}, which points outside its "
                "folder; do not use this file, fetch it again from its source."
            )
        if not name.endswith(".wav") or folders[-1].startswith("."):
            continue
        if info.file_size > _MOST_BYTES:
            raise errors.DataError(
                f"{name} in {path} is of {info.file_size:,} bytes, no short "
                "recording; remove it."
            )
        yield f"{path}/{name}", functools.partial(archive.read, info)


def _second(path: str, read: Reader) -> Array:
    """Reads the first second of a recording, int16 [8000]."""
    try:
        with wave.open(io.BytesIO(read())) as file:
            sound = (
                file.getnchannels(),
                file.getsampwidth(),
                file.getframerate(),
            )
            promised = file.getnframes()
            samples = file.readframes(RATE)
    except (*packed.ZIP_ERRORS, wave.Error) as error:
        why = str(error) or "it ends too early"
        raise errors.DataError(
            f"{path} cannot be read as a WAV file ({why}); fetch it again."
        ) from None
    if sound != (1, 2, RATE):
        channels, width, rate = sound
        raise errors.DataError(
            f"{path} has {channels} channels of {8 * width} bits at {rate} Hz; "
            f"recordings must be mono, of 16 bits at {RATE} Hz: convert it."
        )
    if not promised or len(samples) != 2 * min(promised, RATE):
        raise errors.DataError(
            f"{path} holds {len(samples) // 2} samples where its header "
            f"promises {promised}; fetch it again."
        )
    second = np.zeros(RATE, np.int16)
    second[: len(samples) // 2] = np.frombuffer(samples, "<i2")
    return second
