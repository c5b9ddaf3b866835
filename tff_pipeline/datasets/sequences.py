"""Token ids of texts, cut into windows to learn the next token from."""

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from tff_pipeline.datasets.federation.federated_data import Examples

Array = npt.NDArray[Any]

# The id of places that hold no token; losses and metrics leave it out.
PADDING = 0


def windows(tokens: Array, length: int) -> Examples:
    """Cuts a text so that every token but the first is a target once.

    Args:
      tokens: Of shape [t], t >= 2, ids above 0; the first begins the text.
      length: Of a window.

    Returns:
      `x` and `y` of shape [ceil((t - 1) / length), length] and the type of
      `tokens`; `y` is one token ahead. The last window ends in `PADDING`.
    """
    count = -(-(len(tokens) - 1) // length)
    padded = np.full(count * length + 1, PADDING, tokens.dtype)
    padded[: len(tokens)] = tokens
    x = padded[:-1].copy()
    # Where there is nothing to predict there is nothing to read either.
    x[len(tokens) - 1 :] = PADDING
    return Examples(x.reshape(count, length), padded[1:].reshape(count, length))


def of_clients(
    texts: Iterable[tuple[str, Sequence[Array]]], length: int
) -> tuple[Examples, Array]:
    """The windows of all clients' texts.

    Args:
      texts: (client, its texts as `windows` takes them); at least one text.
      length: Of a window.

    Returns:
      All windows, and whose each is: a str array of shape [n].
    """
    cut, owners = [], []
    for client, parts in texts:
        for tokens in parts:
            cut.append(windows(tokens, length))
            owners += [client] * len(cut[-1])
    x = np.concatenate([part.x for part in cut])
    y = np.concatenate([part.y for part in cut])
    return Examples(x, y), np.array(owners)
