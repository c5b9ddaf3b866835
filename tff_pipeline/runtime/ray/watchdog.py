"""Ends the process when a call of Ray's does not come back.

Measured on Ray 2.52: `wait` is blocked for 45 s, whatever its limit, while the
daemon of this machine is frozen; `shutdown` does not return with a frozen head,
nor `init` with a wrong certificate. No exception reaches the thread that waits,
so the process has to end. What was saved stands, and `tff-pipeline supervise`
starts the run again from there.
"""

import contextlib
import faulthandler
import os
import sys
import threading
from collections.abc import Iterator

from tff_pipeline import errors

# A thread cannot speak while a call holds Python's lock; then the interpreter's
# own watchdog, which needs no lock, ends the process so much later.
_LAST_SECONDS = 10.0


@contextlib.contextmanager
def limited(seconds: float, what: str) -> Iterator[None]:
    """Ends the process, with one sentence, if the block takes too long.

    Blocks must not be nested, nor be entered by two threads at once.

    Args:
      seconds: How long the block may take.
      what: What it does, in words that follow "while".
    """

    def end() -> None:
        print(
            f"error: the Ray cluster did not answer for {seconds:.0f} s while "
            f"{what}, and Ray's call does not end by itself, so this process "
            "does; see that the cluster's machines run and reach each other, "
            "and run the same command again, which goes on from the last "
            "checkpoint.",
            file=sys.stderr,
            flush=True,
        )
        os._exit(errors.TrainingError.exit_status)

    timer = threading.Timer(seconds, end)
    timer.daemon = True
    timer.start()
    faulthandler.dump_traceback_later(seconds + _LAST_SECONDS, exit=True)
    try:
        yield
    finally:
        faulthandler.cancel_dump_traceback_later()
        timer.cancel()
