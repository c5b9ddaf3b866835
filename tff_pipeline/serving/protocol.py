"""Closes HTTP connections that would be held open or filled for ever.

uvicorn's own protocol waits for a request's headers and body as long as the
client likes, and holds headers of any length.
"""

import asyncio
import http
from typing import Any, Optional

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from tff_pipeline.serving import request

# A client that is refused may still be sending; if it were cut off at once, it
# would see a broken connection in place of the reason.
_LINGER_S = 2.0


class Protocol(HttpToolsProtocol):
    """Serves one connection, whose requests arrive in time or are refused.

    Its public methods are uvicorn's, which calls them as bytes arrive.

    Attributes:
      request_timeout_s: The time for a request to arrive, in seconds.
      max_connections: Most connections at once.
      max_head: Most bytes of a request beside its body. Chunks may have a few
        bytes each.
    """

    # Set before connections are made.
    request_timeout_s = 30.0
    max_connections = 1000
    # Bytes of a request beside its body. Chunks may have a few bytes each.
    max_head = 65_536

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._timer: Optional[asyncio.TimerHandle] = None
        self._overhead = 0
        self._refused = False
        self._answered = False

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._restart_timer(self.request_timeout_s)

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        if len(self.connections) > self.max_connections:
            self._refuse(
                503,
                f"The server has {self.max_connections} connections, and takes "
                "no more; try again later.",
            )
            return
        self._restart_timer(self.request_timeout_s)

    def connection_lost(self, exc: Optional[Exception]) -> None:
        self._stop_timer()
        # uvicorn keeps its own where the connection broke.
        self._unset_keepalive_if_required()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self._refused:
            return
        if self._timer is None:
            self._restart_timer(self.request_timeout_s)
        self._overhead += len(data)
        super().data_received(data)
        if self._overhead > self.max_head:
            self._refuse(
                431,
                f"The request has more than {self.max_head} bytes beside its "
                "body; send fewer or shorter headers.",
            )

    def on_body(self, body: bytes) -> None:
        # A chunk's own length costs bytes too, which are not held.
        self._overhead -= 8 * len(body)
        self._overhead = max(self._overhead, 0)
        super().on_body(body)

    def on_message_complete(self) -> None:
        super().on_message_complete()
        self._overhead = 0
        if self._answered:
            # uvicorn waits for the next request only after a response.
            self._answered = False
            self._restart_timer(self.timeout_keep_alive)
        else:
            self._stop_timer()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        if self._timer is not None and self.cycle.more_body:
            # Answered before the request was read to its end.
            self._answered = True
            self._restart_timer(_LINGER_S)

    def send_400_response(self, msg: str) -> None:
        self._refuse(400, "This is not HTTP/1.1 that the server can read.")

    def _restart_timer(self, seconds: float) -> None:
        self._stop_timer()
        self._timer = self.loop.call_later(seconds, self._too_slow)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _too_slow(self) -> None:
        self._timer = None
        if self.flow.read_paused:
            # It is we who do not read: an earlier request is being answered.
            self._restart_timer(self.request_timeout_s)
            return
        if self._answered:
            self.transport.close()
            return
        self._refuse(
            408,
            f"The request did not arrive in {self.request_timeout_s:g} s "
            "(--request_timeout_s).",
        )

    def _refuse(self, status: int, sentence: str) -> None:
        """Sends the reason, unless a response is under way, and hangs up."""
        if self._refused or self.transport.is_closing():
            return
        self._refused = True
        self._stop_timer()
        under_way = self.cycle is not None and not self.cycle.response_complete
        if under_way and self.cycle.response_started:
            self.transport.close()
            return
        body = request.error(sentence)
        self.transport.write(
            b"HTTP/1.1 %d %s\r\ncontent-type: application/json\r\n"
            b"content-length: %d\r\nconnection: close\r\n\r\n%s"
            % (status, http.HTTPStatus(status).phrase.encode(), len(body), body)
        )
        if under_way:
            # Whoever waits for the rest of it need not.
            self.cycle.disconnected = True
            self.cycle.message_event.set()
        self.transport.write_eof()
        self._timer = self.loop.call_later(_LINGER_S, self.transport.close)
