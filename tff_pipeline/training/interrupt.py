"""Ctrl-C and SIGTERM end a run after its round, with a checkpoint."""

import signal
import types
from typing import Any, Optional


class StopRequest:
    """Remembers a signal that asks to stop; a second one stops at once.

    A context manager. Inside it, SIGINT and SIGTERM set `signal_name` instead
    of ending the process. It must be entered on the main thread.

    Attributes:
      signal_name: "SIGINT" or "SIGTERM" once one has come, `None` before.
    """

    _SIGNALS = (signal.SIGINT, signal.SIGTERM)

    def __init__(self) -> None:
        self.signal_name: Optional[str] = None
        self._previous: dict[int, Any] = {}

    def __enter__(self) -> "StopRequest":
        for number in self._SIGNALS:
            self._previous[number] = signal.signal(number, self._handle)
        return self

    def __exit__(self, *_: Any) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)

    def _handle(self, number: int, _: Optional[types.FrameType]) -> None:
        if self.signal_name is not None:
            raise KeyboardInterrupt
        self.signal_name = signal.Signals(number).name
        print(
            f"\n{self.signal_name}: stopping after this round; again to stop "
            "at once.",
            flush=True,
        )
