"""Starts the server of `tff-pipeline serve`, and ends it."""

import contextlib
import gc
import importlib.util
import logging
import resource
import signal
import socket
import sys
from collections.abc import Iterator
from typing import Any

from tff_pipeline import errors
from tff_pipeline.config.serving import ServingConfig
from tff_pipeline.serving import layout

# What setup.cfg's extra `serve` has, by the names that are imported.
_EXTRA = (
    "httptools",
    "orjson",
    "prometheus_client",
    "starlette",
    "uvicorn",
    "uvloop",
)
_BACKLOG = 1024
# Connections taken in one turn of the event loop.
_ACCEPTS = 16
# Files that a process needs beside connections.
_OTHER_FILES = 100
_MOST_CONNECTIONS = 10_000
_LOOPBACK = ("127.", "::1")


def serve(settings: ServingConfig) -> None:
    """Serves a model until SIGTERM or Ctrl-C.

    Args:
      settings: The model, the address and the limits.

    Raises:
      ConfigError: If a setting is not allowed, or there is no model.
      DataError: If the model is damaged.
      PipelineError: If a package is missing, or the port cannot be listened on.
    """
    place = layout.find(str(settings.model), settings.name)
    _require_extra()
    # Before TensorFlow's seconds of start-up: a port that is taken is said now.
    with _listen(settings.host, settings.port) as listener:
        from tff_pipeline.serving import app, model, monitoring

        loaded = model.load(place)
        for signature in loaded.signatures.values():
            signature.warm_up()
        application = app.App(loaded, settings, monitoring.Monitor())
        # TensorFlow's million objects stay; looking through them for garbage
        # stops the server for a third of a second, again and again.
        gc.collect()
        gc.freeze()
        _run(application, settings, listener, place)


def _require_extra() -> None:
    missing = [n for n in _EXTRA if importlib.util.find_spec(n) is None]
    if missing:
        raise errors.PipelineError(
            f"scripts/serve.py needs {', '.join(missing)}, of the extra "
            "`serve`, which is not installed; `pip install --no-deps -r "
            "requirements.txt` installs all of it."
        )


def _listen(host: str, port: int) -> socket.socket:
    """Binds a socket to the address; connections wait until it is served."""
    try:
        family, _, _, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
    except (OSError, UnicodeError) as error:
        raise errors.ConfigError(
            f"--host={host}: no such address ({error}); 127.0.0.1 is this "
            "machine alone, 0.0.0.0 lets others in."
        ) from None
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind(address)
        listener.listen(_BACKLOG)
    except OSError as error:
        listener.close()
        raise errors.PipelineError(
            f"--host={host} --port={port} cannot be listened on "
            f"({error.strerror}); choose another, or --port=0 for a free one."
        ) from None
    return listener


def _connections() -> int:
    """Returns how many connections the limit on open files leaves room for."""
    files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if files == resource.RLIM_INFINITY:
        return _MOST_CONNECTIONS
    return max(1, min(_MOST_CONNECTIONS, files - _OTHER_FILES))


def _run(
    application: Any,
    settings: ServingConfig,
    listener: socket.socket,
    place: layout.Place,
) -> None:
    import uvicorn

    from tff_pipeline.serving.protocol import Protocol

    class Connection(Protocol):
        request_timeout_s = settings.request_timeout_s
        max_connections = _connections()

    class Server(uvicorn.Server):
        async def startup(self, sockets: Any = None) -> None:
            await super().startup(sockets)
            _announce(listener, place)

        @contextlib.contextmanager
        def capture_signals(self) -> Iterator[None]:
            """Handles signals as uvicorn does, but does not raise them again.

            A server that stopped because it was told to has not failed.
            """
            asked = (signal.SIGINT, signal.SIGTERM)
            before = {n: signal.signal(n, self.handle_exit) for n in asked}
            try:
                yield
            finally:
                for number, handler in before.items():
                    signal.signal(number, handler)

    # What clients send wrong is told to them, not to the log.
    logging.getLogger("uvicorn.error").setLevel(logging.ERROR)
    config = uvicorn.Config(
        application,
        http=Connection,
        loop="uvloop",
        ws="none",
        lifespan="on",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        # A graceful end waits for requests under way, not for ever.
        timeout_graceful_shutdown=int(settings.request_timeout_s) + 10,
    )
    # libuv takes one connection a turn of its loop from each of these, and a
    # turn under load takes long: newcomers would wait for a second or more.
    more = [listener.dup() for _ in range(_ACCEPTS - 1)]
    Server(config).run(sockets=[listener, *more])


def _announce(listener: socket.socket, place: layout.Place) -> None:
    host, port = listener.getsockname()[:2]
    shown = f"[{host}]" if ":" in host else host
    print(
        f"Serving {place.name}, version {place.version}, at "
        f"http://{shown}:{port}/; Ctrl-C stops.\n"
        f"Predictions: http://{shown}:{port}/v1/models/{place.name}:predict",
        flush=True,
    )
    if not host.startswith(_LOOPBACK):
        print(
            f"warning: --host={host} lets in whoever reaches this machine, "
            "without a password and unencrypted.",
            file=sys.stderr,
        )
