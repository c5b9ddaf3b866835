"""Calls Python inside a TFF computation, for what TensorFlow has no operation.

Encryption and cryptographic randomness are such. A computation with such a call
runs in the process that built it, on the in-process runtime; any other process,
such as TFF's worker, fails on it, and so cannot leave the call out unnoticed.
"""

from collections.abc import Callable, Sequence
from typing import Any

import tensorflow as tf

# TensorFlow forgets a function with the graph that it was first put in, but
# TFF runs copies of that graph, as long as the process lives.
_KEPT: list[Callable[..., Any]] = []


def call(
    function: Callable[..., Any],
    arguments: Sequence[tf.Tensor],
    result: tf.TensorSpec,
) -> tf.Tensor:
    """Calls a Python function in a graph.

    The call is never left out, moved or merged with another one, for its result
    may be another each time.

    Args:
      function: Takes a NumPy array for each argument, `bytes` for a scalar of
        `tf.string`, and returns one of `result`. Clients' threads may call it
        at the same time. It is never freed.
      arguments: The tensors.
      result: The shape and dtype of what it returns.

    Returns:
      The function's result.
    """

    # A function of its own for each call, to which TensorFlow ties what it
    # registers; it does so to a `def`, and not to a method.
    def outside(*arrays: Any) -> Any:
        return function(*arrays)

    _KEPT.append(outside)
    value = tf.numpy_function(outside, list(arguments), result.dtype)
    return tf.ensure_shape(value, result.shape)
