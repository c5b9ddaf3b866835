"""Answers requests with a body, straight on ASGI.

Starlette answers everything else. Its routing and middleware, good as they
are, take longer than a small model's share of a batch.
"""

import abc
import asyncio
import concurrent.futures
import logging
from collections.abc import Callable
from typing import TypeVar

from starlette.types import Receive, Scope, Send

from tff_pipeline.serving import request
from tff_pipeline.serving.bodies import Bodies
from tff_pipeline.serving.refusal import Gone, Refusal

_T = TypeVar("_T")
# Reading or writing more JSON than this keeps others waiting for milliseconds.
LARGE = 1 << 16


class Answering(abc.ABC):
    """Answers one kind of request, for URLs known to be that."""

    def __init__(self, bodies: Bodies):
        """Connects the parts of an answer.

        Args:
          bodies: The limits on requests' bodies.
        """
        self._bodies = bodies
        self._thread = concurrent.futures.ThreadPoolExecutor(
            1, thread_name_prefix="json"
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> int:
        """Answers one request; returns the status code."""
        try:
            body = await self._bodies.take(scope, receive)
            try:
                answer = await self._answer(body)
            finally:
                self._bodies.release(body)
        except Refusal as refusal:
            answer = request.error(refusal.sentence, refusal.input)
            await _respond(send, refusal.status, answer)
            return refusal.status
        except Gone as gone:
            return gone.status
        except Exception:
            logging.getLogger(__name__).exception("A prediction failed")
            answer = request.error(
                "The server failed at this request; its log says more."
            )
            await _respond(send, 500, answer)
            return 500
        await _respond(send, 200, answer)
        return 200

    @abc.abstractmethod
    async def _answer(self, body: bytes) -> bytes:
        """Computes the response's body from the request's."""

    async def _aside(self, large: bool, work: Callable[[], _T]) -> _T:
        """Works here, or on a thread if it would keep others waiting."""
        if not large:
            return work()
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._thread, work)

    def close(self) -> None:
        """Ends the thread that reads and writes large JSON."""
        self._thread.shutdown()


async def _respond(send: Send, status: int, body: bytes) -> None:
    await send(
        {
            "type": "http.response.start",
            "status": status,
            "headers": [
                (b"content-type", b"application/json"),
                (b"content-length", b"%d" % len(body)),
            ],
        }
    )
    await send({"type": "http.response.body", "body": body})
