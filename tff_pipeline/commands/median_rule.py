"""Tells which trials of a sweep are hopeless, by the median of the others.

The median stopping rule of Golovin et al. 2017 (Google Vizier, section 3.2.2),
here with the best value so far of the others in the place of their average.
"""

import statistics
from collections.abc import Sequence
from typing import Optional

Curve = Sequence[tuple[int, float]]
# Of fewer a median says little.
FEWEST_OTHERS = 3


def hopeless(
    curve: Curve, others: Sequence[Curve], lower: bool, warm_up: int
) -> Optional[int]:
    """Tells whether a trial is worse than most.

    Example:
      >>> others = [[(1, 0.5), (2, value)] for value in (0.6, 0.7, 0.8)]
      >>> hopeless([(1, 0.4), (2, 0.65)], others, lower=False, warm_up=2)
      2
      >>> hopeless([(1, 0.4), (2, 0.75)], others, lower=False, warm_up=2)

    Args:
      curve: The trial's (round, value), oldest first.
      others: Those of the other trials. One that has not come as far counts
        not.
      lower: Whether small values are good.
      warm_up: The first round after which a trial may be hopeless.

    Returns:
      Its last round, if its best value so far is worse than the median of the
      others' best values up to that round, and at least `FEWEST_OTHERS` came
      so far; else `None`.
    """
    if not curve or curve[-1][0] < warm_up:
        return None
    last = curve[-1][0]
    best = min if lower else max
    theirs = [
        best(value for number, value in other if number <= last)
        for other in others
        if other and other[-1][0] >= last and other[0][0] <= last
    ]
    if len(theirs) < FEWEST_OTHERS:
        return None
    own, middle = best(value for _, value in curve), statistics.median(theirs)
    return last if (own > middle if lower else own < middle) else None
