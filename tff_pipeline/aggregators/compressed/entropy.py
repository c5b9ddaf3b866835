"""Elias' gamma code of small whole numbers, by TensorFlow Compression.

Runs of zeros take few bits, and a number n some 2 log2(n) + 2. The library's
operation works inside TensorFlow's graphs, but not in TFF's own worker, which
is a program without it.
"""

import functools
import importlib
from typing import Any

import tensorflow as tf

from tff_pipeline import errors


@functools.lru_cache(maxsize=1)
def _library() -> Any:
    """Imports TensorFlow Compression.

    Raises:
      ConfigError: If it is not installed.
    """
    try:
        return importlib.import_module("tensorflow_compression")
    except ImportError:
        raise errors.ConfigError(
            "--compression_entropy=elias_gamma needs TensorFlow Compression; "
            "install the extra, pip install --no-deps "
            "'tensorflow-compression==2.14.1', or leave the flag out."
        ) from None


def gamma_to_bytes(numbers: tf.Tensor) -> tf.Tensor:
    """Codes whole numbers, of which most are 0.

    Args:
      numbers: int32 [n], of any sign.

    Returns:
      uint8 [m].

    Raises:
      ConfigError: If the library is not installed.
    """
    text = _library().run_length_encode(
        numbers,
        run_length_code=-1,
        magnitude_code=-1,
        use_run_length_for_non_zeros=False,
    )
    return tf.io.decode_raw(text, tf.uint8)


def gamma_from_bytes(data: tf.Tensor, count: int) -> tf.Tensor:
    """Undoes `gamma_to_bytes`.

    Args:
      data: uint8 [m].
      count: The number of whole numbers.

    Returns:
      int32 [count].

    Raises:
      ConfigError: If the library is not installed.
    """
    characters = tf.constant([bytes([byte]) for byte in range(256)])
    text = tf.strings.reduce_join(
        tf.gather(characters, tf.cast(data, tf.int32))
    )
    return _library().run_length_decode(
        text,
        [count],
        run_length_code=-1,
        magnitude_code=-1,
        use_run_length_for_non_zeros=False,
    )
