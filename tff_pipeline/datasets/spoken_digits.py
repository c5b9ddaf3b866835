"""Reads spoken digits from WAV files named `{digit}_{speaker}_{index}.wav`.

The format is that of the Free Spoken Digit Dataset (Jackson et al., FSDD), of
six speakers with 50 recordings of each digit. Any recordings with such names
will do, in a folder or in a zip file, which is read in place and never
extracted.
"""

import contextlib
import functools
import pathlib
import re
import zipfile
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from tff_pipeline import errors
from tff_pipeline.datasets.federation.federated_data import Examples
from tff_pipeline.datasets.readers import packed, wav_file

Array = npt.NDArray[Any]

RATE = 8000  # Samples per second, and samples of a recording.
_NAME = re.compile(r"(\d)_(.+)_(\d+)\.wave?", re.IGNORECASE)
_ENDINGS = (".wav", ".wave")
_UNREAD = (".mp3", ".m4a", ".flac", ".ogg", ".opus", ".aac", ".wma", ".aiff")
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
        mono or not of 8 kHz, or one is of another format than WAV; the message
        names it.
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
        files = [str(path) for path in place.rglob("*") if path.is_file()]
        waves = sorted(map(pathlib.Path, _chosen(files)))
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


def _chosen(paths: Sequence[str], container: str = "") -> list[str]:
    """Returns those that are recordings, sorted.

    Raises:
      DataError: If there are recordings of other formats, which would be left
        out.
    """
    names = {path: re.split(r"[/\\]", path)[-1].lower() for path in paths}
    visible = sorted(path for path in paths if not names[path].startswith("."))
    unread = [path for path in visible if names[path].endswith(_UNREAD)]
    if unread:
        raise errors.DataError(
            f"{container}{unread[0]} is no WAV file (nor are "
            f"{len(unread) - 1} other recordings); convert them to .wav, or "
            "remove them."
        )
    return [path for path in visible if names[path].endswith(_ENDINGS)]


def _zipped(
    path: str, stack: contextlib.ExitStack
) -> Iterator[tuple[str, Reader]]:
    try:
        archive = stack.enter_context(zipfile.ZipFile(path))
    except packed.ZIP_ERRORS as error:
        raise errors.DataError(
            f"{path} cannot be read as a zip file ({error}); fetch it again."
        ) from None
    infos = {info.filename: info for info in archive.infolist()}
    chosen = set(_chosen(list(infos), f"{path}/"))
    for name, info in sorted(infos.items()):
        folders = re.split(r"[/\\]", name)
        # Nothing is extracted, but a file with such names cannot be trusted.
        if ".." in folders or not folders[0] or ":" in folders[0]:
            raise errors.DataError(
                f"{path} holds the name {name!r}, which points outside its "
                "folder; do not use this file, fetch it again from its source."
            )
        if name not in chosen:
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
        content = read()
    except packed.ZIP_ERRORS as error:
        why = str(error) or "it ends too early"
        raise errors.DataError(
            f"{path} cannot be read ({why}); fetch it again."
        ) from None
    recording = wav_file.read(path, content, RATE)
    if (recording.channels, recording.rate) != (1, RATE):
        raise errors.DataError(
            f"{path} has {recording.channels} channels at {recording.rate} Hz; "
            f"recordings must be mono at {RATE} Hz: convert it (ffmpeg -i "
            f"IN.wav -ac 1 -ar {RATE} OUT.wav)."
        )
    second = np.zeros(RATE, np.int16)
    second[: len(recording.samples)] = recording.samples[:, 0]
    return second
