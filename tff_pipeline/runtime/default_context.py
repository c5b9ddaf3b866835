"""Lets go of TFF's own context before Python ends.

TFF computes in a default context until another one is installed. Left to the
end of Python itself, it complains that modules that it needs are gone.
`runtime.compat` has `let_go` called at exit.
"""

import gc
from typing import Any

import tensorflow_federated as tff


class _Ending(tff.framework.SyncContext):
    """Default context while Python ends, which runs no computation."""

    def invoke(self, comp: Any, arg: Any) -> Any:
        """Raises an error whatever the computation is.

        Args:
          comp: The computation.
          arg: Its argument.

        Raises:
          RuntimeError: Always.
        """
        raise RuntimeError("Python is ending.")


def let_go() -> None:
    """Ends TFF's own context while the modules that it needs are there."""
    tff.framework.set_default_context(_Ending())
    gc.collect()
