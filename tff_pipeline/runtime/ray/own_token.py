"""Keeps other users of this machine out of a cluster that a run starts.

They reach the loopback interface too, and with no token they can write to the
table of functions that the workers run as the user who started them. Ray reads
its token once, when it is imported, and has no public name to have it read
anew; the names here are those of Ray 2.52, which the extra `ray` pins.
"""

import contextlib
import os
import secrets
from collections.abc import Iterator
from typing import Any

import ray

_MODE = "RAY_AUTH_MODE"
_TOKEN = "RAY_AUTH_TOKEN"
# It says nothing of types, nor that it has these names.
_raylet: Any = ray._raylet


@contextlib.contextmanager
def shown() -> Iterator[None]:
    """Has Ray show and ask for a random token inside the block.

    Ray must not run when the block begins. Where the environment says what to
    do (`RAY_AUTH_MODE`), that holds; Ray 2.51 knows no token.
    """
    if _MODE in os.environ or not hasattr(_raylet, "AuthenticationTokenLoader"):
        yield
        return
    before = os.environ.get(_TOKEN)
    os.environ.update({_MODE: "token", _TOKEN: secrets.token_hex(32)})
    _read_anew()
    try:
        yield
    finally:
        del os.environ[_MODE], os.environ[_TOKEN]
        if before is not None:
            os.environ[_TOKEN] = before
        _read_anew()


def _read_anew() -> None:
    """Has Ray forget what it read of the environment."""
    _raylet.AuthenticationTokenLoader.instance().reset_cache()
    _raylet.Config.initialize("")
