"""Chooses weights by a regular expression, and lists their names in a line."""

import re
from collections.abc import Sequence

# Names in a line.
_SHOWN = 8


def matching(names: Sequence[str], pattern: str) -> tuple[int, ...]:
    """Finds the names that hold what a regular expression describes.

    >>> matching(["dense/kernel", "dense/bias", "logits/bias"], "^dense/")
    (0, 1)

    Args:
      names: Names of weights, as `initial_weights.names` gives them.
      pattern: A regular expression; it may be found anywhere in a name.

    Returns:
      The places of these names in `names`, in order.
    """
    return tuple(
        place for place, name in enumerate(names) if re.search(pattern, name)
    )


def listed(words: Sequence[str], most: int = _SHOWN) -> str:
    """Lists the first of some words.

    >>> listed(["dense/kernel", "dense/bias", "logits/bias"], most=2)
    'dense/kernel, dense/bias and 1 more'

    Args:
      words: The words, such as names of weights.
      most: How many of them are shown.
    """
    more = f" and {len(words) - most} more" if words[most:] else ""
    return ", ".join(words[:most]) + more
