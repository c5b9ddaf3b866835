"""Routes requests to the server's answers, by URL."""

import contextlib
import importlib.resources
import mimetypes
import time
from collections.abc import AsyncIterator
from typing import Any

from starlette import convertors
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from tff_pipeline.config.serving import ServingConfig
from tff_pipeline.serving import description, request
from tff_pipeline.serving.answering import Answering
from tff_pipeline.serving.batching import Batcher
from tff_pipeline.serving.bodies import Bodies
from tff_pipeline.serving.generate import Generate
from tff_pipeline.serving.model import Model
from tff_pipeline.serving.monitoring import Monitor
from tff_pipeline.serving.predict import Predict
from tff_pipeline.serving.refusal import Refusal

# Nothing from elsewhere, no script but ours, no page of others around it.
_PAGE_HEADERS = {
    "Content-Security-Policy": "default-src 'self'; img-src 'self' data: "
    "blob:; frame-ancestors 'none'; base-uri 'none'; form-action 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-cache",
}


class _Word(convertors.StringConvertor):
    """Matches a part of a path, up to the colon before a verb."""

    regex = "[^/:]+"


convertors.register_url_convertor("word", _Word())


class App:
    """Answers requests about one model, as an ASGI application."""

    def __init__(self, model: Model, settings: ServingConfig, monitor: Monitor):
        """Prepares the answers; requests are taken once its lifespan has begun.

        Args:
          model: The loaded model.
          settings: Limits on requests and batches.
          monitor: The counters that it counts in.
        """
        self._model = model
        self._monitor = monitor
        self._batcher = Batcher(
            settings.max_batch_size,
            settings.max_batch_wait_ms / 1000,
            settings.max_waiting,
            monitor.called,
        )
        monitor.waiting.set_function(lambda: self._batcher.waiting)
        bodies = Bodies(int(settings.max_body_mb * 1_000_000))
        place = model.place
        name = f"/v1/models/{place.name}"
        verbs: dict[str, Answering] = {
            "predict": Predict(model, self._batcher, bodies),
            "generate": Generate(model, self._batcher, bodies),
        }
        # Path -> what it is called in metrics, and what answers.
        self._answering = {
            f"{path}:{verb}": (verb, answering)
            for verb, answering in verbs.items()
            for path in (name, f"{name}/versions/{place.version}")
        }
        self._files = _page_files()
        self._files["model.json"] = request.dumps(description.page(model))
        self._others = self._starlette()

    async def __call__(
        self, scope: Scope, receive: Receive, send: Send
    ) -> None:
        """Answers one request, and counts the answer."""
        if scope["type"] != "http":
            await self._others(scope, receive, send)
            return
        began = time.perf_counter()
        endpoint, code = "other", 500
        self._monitor.in_flight.inc()
        try:
            if scope["path"] in self._answering and scope["method"] == "POST":
                endpoint, answering = self._answering[scope["path"]]
                code = await answering(scope, receive, send)
            else:
                endpoint, code = await _noting(
                    self._others, scope, receive, send
                )
        finally:
            self._monitor.in_flight.dec()
            seconds = time.perf_counter() - began
            self._monitor.answered(endpoint, code, seconds)

    def _starlette(self) -> Starlette:
        root = "/v1/models/{name:word}"
        routes = []
        for path in (root, root + "/versions/{version:word}"):
            routes += [
                # Of this model, they do not come here.
                Route(path + ":predict", self._absent, methods=["POST"]),
                Route(path + ":generate", self._absent, methods=["POST"]),
                Route(path + "/metadata", self._metadata),
                Route(path, self._status),
            ]
        routes += [
            Route("/healthz", self._health),
            Route("/metrics", self._metrics),
            Route("/", self._page),
            Route("/page/{file}", self._page),
        ]
        app = Starlette(
            routes=routes,
            lifespan=self._lifespan,
            exception_handlers={
                Refusal: _refused,
                HTTPException: _not_found,
                Exception: _failed,
            },
        )
        # /v1/models/x/ is another path than /v1/models/x, and not ours.
        app.router.redirect_slashes = False
        return app

    @contextlib.asynccontextmanager
    async def _lifespan(self, _: Starlette) -> AsyncIterator[None]:
        self._batcher.start()
        yield
        await self._batcher.stop()
        for verb_and_answering in self._answering.values():
            verb_and_answering[1].close()

    async def _absent(self, http: Request) -> Response:
        self._require_model(http)
        raise HTTPException(404)

    async def _status(self, http: Request) -> Response:
        self._require_model(http)
        return _json(request.dumps(description.status(self._model)))

    async def _metadata(self, http: Request) -> Response:
        self._require_model(http)
        return _json(request.dumps(description.metadata(self._model)))

    async def _health(self, _: Request) -> Response:
        return Response("ok\n", media_type="text/plain")

    async def _metrics(self, _: Request) -> Response:
        return Response(
            self._monitor.text(), media_type=self._monitor.content_type
        )

    async def _page(self, http: Request) -> Response:
        # By name among those that are known: a path leads nowhere else.
        name = http.path_params.get("file", "index.html")
        if name not in self._files:
            raise HTTPException(404)
        kind, _ = mimetypes.guess_type(name)
        return Response(
            self._files[name], media_type=kind, headers=_PAGE_HEADERS
        )

    def _require_model(self, http: Request) -> None:
        """Checks that the URL names this model and version.

        Raises:
          Refusal: If it names another.
        """
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


async def _noting(
    app: ASGIApp, scope: Scope, receive: Receive, send: Send
) -> tuple[str, int]:
    """Lets `app` answer; returns the endpoint's name and the status code."""
    code = 500

    async def noting(message: Message) -> None:
        nonlocal code
        if message["type"] == "http.response.start":
            code = message["status"]
        await send(message)

    await app(scope, receive, noting)
    endpoint = getattr(scope.get("endpoint"), "__name__", "_other")
    return endpoint[1:], code


def _json(body: bytes, status: int = 200) -> Response:
    return Response(body, status, media_type="application/json")


async def _refused(_: Request, error: Any) -> Response:
    return _json(request.error(error.sentence), error.status)


async def _not_found(http: Request, error: Any) -> Response:
    asked = f"{http.method} {http.url.path[:80]}"
    if error.status_code == 405:
        allowed = (error.headers or {}).get("Allow", "another method")
        sentence = f"{asked} is not answered; use {allowed}."
    else:
        sentence = (
            f"{asked} is not there; see /v1/models/<name>, .../metadata, "
            "...:predict, ...:generate, /healthz, /metrics, or / in a browser."
        )
    answer = _json(request.error(sentence), error.status_code)
    answer.headers.update(error.headers or {})
    return answer


async def _failed(_: Request, __: Exception) -> Response:
    return _json(
        request.error("The server failed at this request; its log says more."),
        500,
    )
