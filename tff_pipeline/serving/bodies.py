"""Reads requests' bodies: no larger than allowed, not too many at once."""

from starlette.types import Receive, Scope

from tff_pipeline.serving.refusal import Gone, Refusal

# Times the largest body: what all requests that are being answered may hold.
_HELD = 8


class Bodies:
    """Limits how much of clients' data is held at once."""

    def __init__(self, max_bytes: int):
        """Sets the limit.

        Args:
          max_bytes: The largest body, in bytes; all of them together may be 8
            times as large.
        """
        self._max_bytes = max_bytes
        self._held = 0

    async def take(self, scope: Scope, receive: Receive) -> bytes:
        """Reads a request's body; give it back with `release`.

        Args:
          scope: The request's ASGI scope.
          receive: The request's ASGI `receive`.

        Raises:
          Refusal: As soon as it is longer than allowed, or says it will be.
          Gone: If the client leaves.
        """
        for name, value in scope["headers"]:
            if (
                name == b"content-length"
                and value.isdigit()
                and int(value) > self._max_bytes
            ):
                self._refuse()
        chunks: list[bytes] = []
        size = 0
        try:
            while True:
                message = await receive()
                if message["type"] == "http.disconnect":
                    raise Gone
                chunk = message.get("body", b"")
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
                if not message.get("more_body", False):
                    break
        except BaseException:
            self._held -= size
            raise
        return chunks[0] if len(chunks) == 1 else b"".join(chunks)

    def release(self, body: bytes) -> None:
        """Frees the room of a body that has been answered.

        Args:
          body: The bytes that `take` returned.
        """
        self._held -= len(body)

    def _refuse(self) -> None:
        raise Refusal(
            413,
            f"The body is longer than {self._max_bytes} bytes "
            "(--max_body_mb); send fewer rows at once.",
        )
