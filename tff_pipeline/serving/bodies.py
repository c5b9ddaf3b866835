"""Reading requests' bodies: no larger than allowed, not too many at once."""

import contextlib
from collections.abc import AsyncIterator

from starlette.requests import Request

from tff_pipeline.serving.refusal import Refusal

# Times the largest body: what all requests that are being answered may hold.
_HELD = 8


class Bodies:
    """How much of clients' data is held, and may be."""

    def __init__(self, max_bytes: int):
        """A body of more than `max_bytes` is refused."""
        self._max_bytes = max_bytes
        self._held = 0

    @contextlib.asynccontextmanager
    async def read(self, request: Request) -> AsyncIterator[bytes]:
        """Holds the body while the request is answered.

        Raises:
          Refusal: As soon as it is longer than allowed, or says it will be.
        """
        said = request.headers.get("content-length", "0")
        if said.isdigit() and int(said) > self._max_bytes:
            self._refuse()
        chunks: list[bytes] = []
        size = 0
        try:
            async for chunk in request.stream():
                size += len(chunk)
                self._held += len(chunk)
                if size > self._max_bytes:
                    self._refuse()
                if self._held > _HELD * self._max_bytes:
                    raise Refusal(
                        503,
                        "The server holds as many large requests as it may; "
                        "try again later.",
                    )
                chunks.append(chunk)
            yield chunks[0] if len(chunks) == 1 else b"".join(chunks)
        finally:
            self._held -= size

    def _refuse(self) -> None:
        raise Refusal(
            413,
            f"The body is longer than {self._max_bytes} bytes "
            "(--max_body_mb); send fewer rows at once.",
        )
