"""Cuts token ids of texts into windows to learn the next token from."""

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from tff_pipeline.datasets.federation.federated_data import Examples

Array = npt.NDArray[Any]

# The id of places without a token, which losses and metrics leave out.
PADDING = 0


def windows(tokens: Array, length: int) -> Examples:
    """Cuts a text so that every token but the first is a target once.

    Example:
      >>> cut = windows(np.array([9, 1, 2, 3]), 2)
      >>> cut.x.tolist(), cut.y.tolist()
      ([[9, 1], [2, 0]], [[1, 2], [3, 0]])

    Args:
      tokens: Ids above 0, of shape [t], t >= 2; the first begins the text.
      length: The length of a window.

    Returns:
      `x` and `y` of shape [ceil((t - 1) / length), length] and the dtype of
      `tokens`; `y` is one token ahead of `x`. The last window is filled up with
      `PADDING`.
    """
    count = -(-(len(tokens) - 1) // length)
    padded = np.full(count * length + 1, PADDING, tokens.dtype)
    padded[: len(tokens)] = tokens
    x = padded[:-1].copy()
    # Places without a token to predict have no token to read either.
    x[len(tokens) - 1 :] = PADDING
    return Examples(x.reshape(count, length), padded[1:].reshape(count, length))


def client_windows(
    texts: Iterable[tuple[str, Sequence[Array]]], length: int
) -> tuple[Examples, Array]:
    """Cuts all clients' texts into windows.

    Args:
      texts: (client's name, its texts) of each client; a text is what `windows`
        takes. There is at least one text.
      length: The length of a window.

    Returns:
      (windows, owners): the windows of all texts in order, and str [n], the
      client of each.
    """
    cut, owners = [], []
    for client, parts in texts:
        for tokens in parts:
            cut.append(windows(tokens, length))
            owners += [client] * len(cut[-1])
    x = np.concatenate([part.x for part in cut])
    y = np.concatenate([part.y for part in cut])
    return Examples(x, y), np.array(owners)
