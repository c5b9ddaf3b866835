"""Ends a child process with its parent, and says how one ended."""

import ctypes
import os
import signal
from collections.abc import Callable

_PR_SET_PDEATHSIG = 1
_LIBC = ctypes.CDLL(None, use_errno=True)


def ends_with(parent: int) -> Callable[[], None]:
    """Returns a `preexec_fn` by which the kernel ends a child with its parent.

    The child is killed when the thread that started it ends, however it ends.

    Args:
      parent: The id of the process that starts the child.
    """

    def end_with_parent() -> None:
        _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:  # It ended before it could be watched.
            os._exit(1)

    return end_with_parent


def ending(status: int) -> str:
    """Says in words how a process ended.

    Args:
      status: Its status, as `subprocess` has it: negative after a signal.

    >>> ending(-9), ending(1)
    ('by SIGKILL', 'with exit status 1')
    """
    if status >= 0:
        return f"with exit status {status}"
    names = {each.value: each.name for each in signal.Signals}
    return f"by {names.get(-status, f'signal {-status}')}"
