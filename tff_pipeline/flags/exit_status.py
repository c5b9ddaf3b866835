"""Tells a supervisor which failures would only come again.

A command that fails exits with 1, and so does a process that Python,
faulthandler or Ray ends. A supervisor that starts a process marks its
environment; then failures that starting again would not cure exit with a
status that nothing else has.
"""

import os
from typing import Optional

SUPERVISED = "TFF_PIPELINE_SUPERVISED"
_LASTING = 64


def lasting(status: int) -> int:
    """Returns the exit status of a process that would only fail again.

    Args:
      status: The status if nobody supervises the process, 1 to 63 or 130.
    """
    return status + _LASTING if SUPERVISED in os.environ else status


def answer(status: int) -> Optional[int]:
    """Returns what a supervised process answered, if it ended by itself.

    Args:
      status: Its status, as `subprocess` has it: negative after a signal.

    Returns:
      0, or the status that `lasting` was given; `None` if the process was ended
      or failed in a way that may pass.

    >>> answer(0), answer(66), answer(194), answer(1), answer(-9)
    (0, 2, 130, None, None)
    """
    if status == 0:
        return 0
    known = status - _LASTING
    return known if known in (1, 2, 130) else None
