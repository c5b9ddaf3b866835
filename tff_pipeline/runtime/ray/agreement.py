"""Tells what must be the same on all machines that share a cohort.

Another release, another copy of the data or a processor that rounds otherwise
would give other bits, and so another model than one machine alone.
"""

import functools
import hashlib
import os
import platform
from collections.abc import Mapping

import numpy as np
import tensorflow as tf
import tensorflow_federated as tff

import tff_pipeline


@functools.lru_cache(1)
def of_this_process() -> Mapping[str, str]:
    """Describes this process's software and arithmetic.

    Returns:
      A name, as it stands in a message -> a value that all machines must share.
    """
    return {
        "Python": platform.python_version(),
        "TensorFlow": tf.__version__,
        "TensorFlow Federated": tff.__version__,
        "NumPy": np.__version__,
        "tff-pipeline": f"{tff_pipeline.__version__} {_sources()}",
        "arithmetic": _arithmetic(),
    }


def differences(
    ours: Mapping[str, str], theirs: Mapping[str, str]
) -> list[str]:
    """Names in what two machines differ.

    Args:
      ours: What the driver has.
      theirs: What the other machine has.

    Returns:
      A phrase for each difference.

    Example:
      >>> differences({"NumPy": "1.25.2", "a": "1"}, {"NumPy": "1.26.0"})
      ['NumPy (1.26.0 there, 1.25.2 here)', 'a (none there, 1 here)']
    """
    return [
        f"{name} ({theirs.get(name, 'none')} there, {ours.get(name, 'none')} "
        "here)"
        for name in sorted({*ours, *theirs})
        if ours.get(name) != theirs.get(name)
    ]


def _sources() -> str:
    """Returns a short digest of this package's own modules."""
    root = os.path.dirname(tff_pipeline.__file__)
    digest = hashlib.sha256()
    for folder, folders, files in os.walk(root):
        folders.sort()
        for name in sorted(files):
            if name.endswith(".py"):
                path = os.path.join(folder, name)
                digest.update(os.path.relpath(path, root).encode())
                with open(path, "rb") as file:
                    digest.update(file.read())
    return digest.hexdigest()[:12]


def _arithmetic() -> str:
    """Returns a short digest of results that depend on the processor.

    TensorFlow takes the widest instructions that there are, and these add in
    another order.
    """
    x = np.sin(np.arange(4 * 28 * 28, dtype=np.float32)).reshape(4, 28, 28, 1)
    kernel = np.cos(np.arange(25 * 32, dtype=np.float32)).reshape(5, 5, 1, 32)
    with tf.device("CPU:0"):
        convolved = tf.reshape(tf.nn.conv2d(x, kernel, 1, "SAME"), [4, -1])
        products = tf.matmul(convolved, convolved, transpose_b=True)
        results = [
            convolved,
            products,
            tf.nn.softmax(products / 1e3),
            tf.reduce_sum(convolved, axis=1),
            tf.math.tanh(convolved),
            tf.nn.lrn(tf.reshape(convolved, [4, 28, 28, 32])),
        ]
    digest = hashlib.sha256()
    for result in results:
        digest.update(result.numpy().tobytes())
    return digest.hexdigest()[:12]
