"""The HTTP connection: a limit on the head in bytes and seconds, and problems as refusals."""

from __future__ import annotations

import json
from collections.abc import Callable
from operator import itemgetter
from socket import IPPROTO_TCP, TCP_NODELAY
from typing import TYPE_CHECKING

from django.conf import settings
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from hopper.rest.problem import MEDIA_TYPE, problem

if TYPE_CHECKING:
    from asyncio import TimerHandle, Transport

MOST_HEAD_BYTES = 64 * 1024
MOST_CONNECTIONS = 1000
"""The most connections of a process. For one more, the process closes the longest waiting one."""
LINGER_SECONDS = 2
"""The time for reading the rest of a refused body, so that the client gets the answer."""


class Connection(HttpToolsProtocol):
    """Closes a connection whose head is too long or does not arrive in time."""

    waits_for_head = False
    _head_bytes = 0
    _timer: TimerHandle | None = None

    # uvicorn serves by TCP alone: its transport is narrower than the protocol's.
    def connection_made(self, transport: Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        # Head and body of an answer are two writes. The second must not wait for an ACK (40 ms).
        transport.get_extra_info("socket").setsockopt(IPPROTO_TCP, TCP_NODELAY, True)
        self._expect_head()
        if len(self.connections) > MOST_CONNECTIONS:
            self._close_one()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_timer()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self.waits_for_head and not self.transport.is_closing():
            self._head_bytes += len(data)
            if self._head_bytes > MOST_HEAD_BYTES:
                self._refuse(431, "head_too_long", f"A head has at most {MOST_HEAD_BYTES} bytes.")

    def on_headers_complete(self) -> None:
        self._stop_timer()
        self.waits_for_head = False
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        refused = self.cycle.response_complete
        super().on_message_complete()
        if refused:
            self._expect_head()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        if self.transport.is_closing() or not self.cycle.response_complete:
            return
        if self.cycle.more_body:
            self._start_timer(LINGER_SECONDS, self.transport.close)
        else:
            self._expect_head()

    def send_400_response(self, msg: str) -> None:
        """Answer a message that is not HTTP."""
        self._refuse(400, "bad_request", msg)

    def _expect_head(self) -> None:
        self.waits_for_head = True
        self._head_bytes = 0
        self._start_timer(settings.HOPPER_HEAD_SECONDS, self._head_is_late)

    def _head_is_late(self) -> None:
        if self._head_bytes:
            seconds = settings.HOPPER_HEAD_SECONDS
            self._refuse(408, "too_slow", f"The head did not arrive within {seconds} s.")
        else:
            self.transport.close()

    def _start_timer(self, seconds: float, call: Callable[[], None]) -> None:
        self._stop_timer()
        self._timer = self.loop.call_later(seconds, call)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _close_one(self) -> None:
        """Close the connection that has waited the longest for its head, else this one."""
        waiting = [
            (one._timer.when(), one)
            for one in self.connections
            if isinstance(one, Connection) and one.waits_for_head and one._timer
        ]
        oldest = min(waiting, key=itemgetter(0), default=(0, self))[1]
        oldest.transport.close()

    def _refuse(self, status: int, code: str, detail: str) -> None:
        """Answer by a problem, before there is a request, and close."""
        body = json.dumps(problem(status, code, detail)).encode()
        head = (
            f"content-type: {MEDIA_TYPE}\r\ncontent-length: {len(body)}\r\n"
            "connection: close\r\n\r\n"
        )
        self.transport.write(STATUS_LINE[status] + head.encode() + body)
        self.transport.close()
