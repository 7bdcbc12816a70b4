"""Long polls: a call that looks again until there is something to tell, or its time is over.

Under ASGI the event loop waits: a look takes a thread and a connection for its own time only. Under
WSGI the thread waits, so such a wait is shorter, and few wait at the same time. Nobody holds a
transaction or a lock between two looks.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractContextManager, nullcontext, suppress
from typing import Any, Protocol, TypeVar

from django.db import connection
from django.http import StreamingHttpResponse
from rest_framework.exceptions import APIException
from rest_framework.renderers import JSONRenderer
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from hopper.errors import HopperError
from hopper.rest.input import integer

Look = Callable[[], tuple[Response, bool]]
"""Returns an answer, and whether to wait for a better one."""

MAX_SECONDS = 25
"""The longest wait, below the limit of web servers and proxies (30 s)."""
MAX_SECONDS_WSGI = 5
AT_ONCE_WSGI = 2
"""The most waits of one process under WSGI; a further one is answered at once."""
LOOK_SECONDS = 1.0
"""The time between two looks."""
VAIN_SECONDS = 0.02
"""The pause after the first wake-up in vain; each further pause is twice as long."""

Found = TypeVar("Found")

_threads = threading.BoundedSemaphore(AT_ONCE_WSGI)


class Wakeups(Protocol):
    """Wakes a wait when it should look, so that it need not look every second."""

    def subscribed(self, wake: Callable[[], None]) -> AbstractContextManager[None]:
        """Call `wake`, from any thread, whenever there may be something to tell."""

    def look(self) -> None:
        """Look once for all waits of this process, and wake those that have an answer."""


def long_poll(
    view: APIView,
    look: Look,
    *,
    most: int = MAX_SECONDS,
    wakeups: Wakeups | None = None,
    take_back: Callable[[Any], None] | None = None,
) -> Response | StreamingHttpResponse:
    """Answer what `look` finds, after at most `wait` seconds (0 to `most`, default 0).

    An answer that still waits is no error: the client asks again. `take_back` undoes the answer of
    a look that the client did not stay for; its argument is the body.
    """
    request = view.request
    seconds = integer(request.query_params, "wait", least=0, most=most, default=0)
    response, waits = look()
    if not waits or not seconds:
        return response

    def look_again() -> tuple[Response, bool]:
        _ask_anew(view, request)
        return look()

    until = time.monotonic() + seconds
    # Late: only a wait needs it.
    from django.core.handlers.asgi import ASGIRequest

    if isinstance(request._request, ASGIRequest):
        wait = _Wait(look_again, response, until, wakeups, take_back)
        return StreamingHttpResponse(wait, content_type="application/json; charset=utf-8")
    if _threads.acquire(blocking=False):
        try:
            response = _looked(
                look_again, response, min(until, time.monotonic() + MAX_SECONDS_WSGI)
            )
        finally:
            _threads.release()
    return response


def _ask_anew(view: APIView, request: Request) -> None:
    """Read the caller's credentials again: the token may be revoked meanwhile."""
    fresh = view.initialize_request(request._request)
    # The body was read from the connection before. The stubs do not name where DRF keeps it.
    fresh._full_data = request.data  # type: ignore[attr-defined]
    view.request = fresh
    view.perform_authentication(fresh)
    view.check_permissions(fresh)


def _looked(look: Look, response: Response, until: float) -> Response:
    waits = True
    while waits and (left := until - time.monotonic()) > 0:
        if not connection.in_atomic_block:
            connection.close()
        time.sleep(min(LOOK_SECONDS, left))
        response, waits = look()
    return response


async def _in_thread(function: Callable[[], Found]) -> Found:
    # Late: a command without a server has no event loop.
    from hopper.serving.application import in_thread

    return await in_thread(function)


class _Wait:
    """The content of an answer that waits in the event loop. The server closes it at the end."""

    def __init__(
        self,
        look: Look,
        response: Response,
        until: float,
        wakeups: Wakeups | None,
        take_back: Callable[[Any], None] | None,
    ) -> None:
        self._look, self._until = look, until
        self._wakeups, self._take_back = wakeups, take_back
        self._woken = asyncio.Event()
        self._pause = 0.0
        self._lock = threading.Lock()
        self._body: Any = response.data
        self._given = self._closed = False

    async def __aiter__(self) -> AsyncIterator[bytes]:
        """Yield the body once. The status is answered already: a refusal ends the wait."""
        with self._subscribed():
            # Something may have come since the first look.
            self._woken.set()
            waits = True
            while waits and await self._something_new():
                try:
                    waits = await _in_thread(self._look_again)
                except (HopperError, APIException):
                    break
        yield JSONRenderer().render(self._body)
        self._given = True

    def close(self) -> None:
        """Take an answer back that the client did not stay for."""
        with self._lock:
            self._closed = True
        self._undo()

    def _subscribed(self) -> AbstractContextManager[None]:
        loop = asyncio.get_running_loop()

        def wake() -> None:
            loop.call_soon_threadsafe(self._woken.set)

        return self._wakeups.subscribed(wake) if self._wakeups is not None else nullcontext()

    async def _something_new(self) -> bool:
        """Return as soon as there may be something to tell; False where the time is over."""
        if self._wakeups is None:
            left = self._until - time.monotonic()
            await asyncio.sleep(max(0, min(LOOK_SECONDS, left)))
            return left > 0
        # A call that looked in vain lets the next one be served: many may wait for one task.
        await asyncio.sleep(self._pause)
        self._pause = min(max(2 * self._pause, VAIN_SECONDS), LOOK_SECONDS)
        while (left := self._until - time.monotonic()) > 0:
            with suppress(TimeoutError):
                await asyncio.wait_for(self._woken.wait(), min(LOOK_SECONDS, left))
            if self._woken.is_set():
                self._woken.clear()
                return True
            await _in_thread(self._wakeups.look)
        return False

    def _look_again(self) -> bool:
        """Look, in a thread; return whether to wait. The client may have left meanwhile."""
        response, waits = self._look()
        with self._lock:
            self._body = response.data
            closed = self._closed
        if closed:
            self._undo()
        return waits

    def _undo(self) -> None:
        with self._lock:
            body, self._body = self._body, None
        if self._take_back is not None and body is not None and not self._given:
            self._take_back(body)
