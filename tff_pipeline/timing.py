"""Where time goes: named spans, summed up while someone records them.

Without a recording a span costs nothing worth measuring. In a trace of
TensorFlow's profiler spans show under their names.
"""

import collections
import contextlib
import time
from collections.abc import Iterator
from typing import Optional

import tensorflow as tf

Seconds = collections.defaultdict[str, float]

_recording: Optional[Seconds] = None


@contextlib.contextmanager
def recording() -> Iterator[Seconds]:
    """Gives seconds by name, filled by all threads' spans."""
    global _recording
    _recording = collections.defaultdict(float)
    try:
        yield _recording
    finally:
        _recording = None


@contextlib.contextmanager
def span(name: str) -> Iterator[None]:
    """Counts what happens inside under `name`."""
    seconds = _recording
    if seconds is None:
        yield
        return
    began = time.perf_counter()
    try:
        with tf.profiler.experimental.Trace(name):
            yield
    finally:
        seconds[name] += time.perf_counter() - began
