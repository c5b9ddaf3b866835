"""The server's answers, by URL."""

import asyncio
import concurrent.futures
import contextlib
import importlib.resources
import mimetypes
import time
from collections.abc import AsyncIterator, Callable
from typing import Any, TypeVar

from starlette import convertors
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from tff_pipeline.serving import description, request
from tff_pipeline.serving.batching import Batcher
from tff_pipeline.serving.bodies import Bodies
from tff_pipeline.serving.model import Model
from tff_pipeline.serving.monitoring import Monitor
from tff_pipeline.serving.refusal import Refusal
from tff_pipeline.serving.settings import Settings

_T = TypeVar("_T")
# Reading more JSON than this keeps others waiting for milliseconds.
_LARGE = 1 << 16
# Nothing from elsewhere, no script but ours, no page of others around it.
_PAGE_HEADERS = {
    "Content-Security-Policy": "default-src 'self'; img-src 'self' data:; "
    "frame-ancestors 'none'; base-uri 'none'; form-action 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-cache",
}


class _Word(convertors.StringConvertor):
    """A part of a path; what follows a colon is a verb and none of it."""

    regex = "[^/:]+"


convertors.register_url_convertor("word", _Word())


def build(model: Model, settings: Settings, monitor: Monitor) -> ASGIApp:
    """The ASGI application that serves `model`."""
    server = _Server(model, settings, monitor)
    root = "/v1/models/{name:word}"
    routes = []
    for path in (root, root + "/versions/{version:word}"):
        routes += [
            Route(path + ":predict", server.predict, methods=["POST"]),
            Route(path + "/metadata", server.metadata),
            Route(path, server.status),
        ]
    routes += [
        Route("/healthz", server.health),
        Route("/metrics", server.metrics),
        Route("/", server.page),
        Route("/page/{file}", server.page),
    ]
    app = Starlette(
        routes=routes,
        lifespan=server.lifespan,
        exception_handlers={
            Refusal: _refused,
            HTTPException: _not_found,
            ClientDisconnect: _gone,
            Exception: _failed,
        },
    )
    # /v1/models/x/ is another path than /v1/models/x, and not ours.
    app.router.redirect_slashes = False
    return _Counted(app, monitor)


class _Server:
    """The endpoints, and what they share."""

    def __init__(self, model: Model, settings: Settings, monitor: Monitor):
        self._model = model
        self._monitor = monitor
        self._batcher = Batcher(
            settings.max_batch_size,
            settings.max_batch_wait_ms / 1000,
            settings.max_waiting,
            monitor.called,
        )
        monitor.waiting.set_function(lambda: self._batcher.waiting)
        self._bodies = Bodies(int(settings.max_body_mb * 1_000_000))
        self._files = _page_files()
        self._files["model.json"] = request.dumps(description.page(model))
        self._thread = concurrent.futures.ThreadPoolExecutor(
            1, thread_name_prefix="json"
        )

    @contextlib.asynccontextmanager
    async def lifespan(self, _: Starlette) -> AsyncIterator[None]:
        self._batcher.start()
        yield
        await self._batcher.stop()
        self._thread.shutdown()

    async def predict(self, http: Request) -> Response:
        self._require_model(http)
        async with self._bodies.read(http) as body:
            large = len(body) > _LARGE
            asked = await self._aside(
                large, lambda: request.decode(body, self._model.signatures)
            )
            outputs = await self._batcher.run(asked)
            large = sum(a.nbytes for a in outputs.values()) > _LARGE
            return _json(
                await self._aside(large, lambda: request.encode(outputs, asked))
            )

    async def _aside(self, large: bool, work: Callable[[], _T]) -> _T:
        """Does it here, or on a thread if it would keep others waiting."""
        if not large:
            return work()
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._thread, work)

    async def status(self, http: Request) -> Response:
        self._require_model(http)
        return _json(request.dumps(description.status(self._model)))

    async def metadata(self, http: Request) -> Response:
        self._require_model(http)
        return _json(request.dumps(description.metadata(self._model)))

    async def health(self, _: Request) -> Response:
        return Response("ok\n", media_type="text/plain")

    async def metrics(self, _: Request) -> Response:
        return Response(
            self._monitor.text(), media_type=self._monitor.content_type
        )

    async def page(self, http: Request) -> Response:
        # By name among those that are known: a path leads nowhere else.
        name = http.path_params.get("file", "index.html")
        if name not in self._files:
            raise HTTPException(404)
        kind, _ = mimetypes.guess_type(name)
        return Response(
            self._files[name], media_type=kind, headers=_PAGE_HEADERS
        )

    def _require_model(self, http: Request) -> None:
        """Raises `Refusal` if the URL names another model or version."""
        place = self._model.place
        name = http.path_params["name"]
        version = http.path_params.get("version", str(place.version))
        if (name, version) != (place.name, str(place.version)):
            asked = f"{name[:60]}, version {version[:20]}"
            raise Refusal(
                404,
                f"There is no model {asked}; this server has {place.name}, "
                f"version {place.version}.",
            )


def _page_files() -> dict[str, bytes]:
    folder = importlib.resources.files("tff_pipeline.serving") / "page"
    return {each.name: each.read_bytes() for each in folder.iterdir()}


class _Counted:
    """Counts an application's requests."""

    def __init__(self, app: ASGIApp, monitor: Monitor):
        self._app = app
        self._monitor = monitor

    async def __call__(
        self, scope: Scope, receive: Receive, send: Send
    ) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began = time.perf_counter()
        code = 500

        async def noting(message: Message) -> None:
            nonlocal code
            if message["type"] == "http.response.start":
                code = message["status"]
            await send(message)

        self._monitor.in_flight.inc()
        try:
            await self._app(scope, receive, noting)
        finally:
            self._monitor.in_flight.dec()
            endpoint = getattr(scope.get("endpoint"), "__name__", "other")
            self._monitor.answered(endpoint, code, time.perf_counter() - began)


def _json(body: bytes, status: int = 200) -> Response:
    return Response(body, status, media_type="application/json")


def error_body(sentence: str) -> bytes:
    """TensorFlow Serving's form of an error."""
    return request.dumps({"error": sentence})


async def _refused(_: Request, error: Any) -> Response:
    return _json(error_body(error.sentence), error.status)


async def _not_found(http: Request, error: Any) -> Response:
    asked = f"{http.method} {http.url.path[:80]}"
    if error.status_code == 405:
        allowed = (error.headers or {}).get("Allow", "another method")
        sentence = f"{asked} is not answered; use {allowed}."
    else:
        sentence = (
            f"{asked} is not there; see /v1/models/<name>, .../metadata, "
            "...:predict, /healthz, /metrics, or / in a browser."
        )
    answer = _json(error_body(sentence), error.status_code)
    answer.headers.update(error.headers or {})
    return answer


async def _gone(_: Request, __: Exception) -> Response:
    # Nobody reads it; 499 is what nginx counts such requests as.
    return Response(status_code=499)


async def _failed(_: Request, __: Exception) -> Response:
    return _json(
        error_body("The server failed at this request; its log says more."),
        500,
    )
