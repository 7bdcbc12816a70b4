"""Long polls: a GET that looks again until there is something to tell, or its time is over.

Under ASGI the event loop waits: a look takes a thread and a connection for its own time only. Under
WSGI the thread waits, so such a wait is shorter, and few wait at the same time. Nobody holds a
transaction or a lock between two looks.
"""

from __future__ import annotations

import asyncio
import threading
import time
from typing import TYPE_CHECKING, Any

from django.db import connection
from django.http import StreamingHttpResponse
from rest_framework.exceptions import APIException
from rest_framework.renderers import JSONRenderer
from rest_framework.response import Response

from hopper.errors import HopperError
from hopper.rest.input import integer

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from rest_framework.views import APIView

    Look = Callable[[], tuple[Any, bool]]
    """Returns the body of an answer, and whether to wait for a better one."""

MAX_SECONDS = 25
"""The longest wait, below the limit of web servers and proxies (30 s)."""
MAX_SECONDS_WSGI = 5
AT_ONCE_WSGI = 2
"""The most waits of one process under WSGI; a further one is answered at once."""
LOOK_SECONDS = 1.0
"""The time between two looks."""

_threads = threading.BoundedSemaphore(AT_ONCE_WSGI)


def waiting(view: APIView, look: Look) -> Response | StreamingHttpResponse:
    """Answer what `look` finds for a GET, after at most `wait` seconds (0 to 25, default 0).

    An answer that still waits is no error: the client asks again.
    """
    request = view.request
    seconds = integer(request.query_params, "wait", least=0, most=MAX_SECONDS, default=0)
    body, waits = look()
    if not waits or not seconds:
        return Response(body)

    def look_again() -> tuple[Any, bool]:
        # The token may be revoked meanwhile.
        view.request = view.initialize_request(request._request)
        view.perform_authentication(view.request)
        view.check_permissions(view.request)
        return look()

    until = time.monotonic() + seconds
    # Late: only a wait needs it.
    from django.core.handlers.asgi import ASGIRequest

    if isinstance(request._request, ASGIRequest):
        return StreamingHttpResponse(
            _looking(look_again, body, until), content_type="application/json; charset=utf-8"
        )
    if _threads.acquire(blocking=False):
        try:
            body = _looked(look_again, body, min(until, time.monotonic() + MAX_SECONDS_WSGI))
        finally:
            _threads.release()
    return Response(body)


def _looked(look: Look, body: Any, until: float) -> Any:
    waits = True
    while waits and (left := until - time.monotonic()) > 0:
        if not connection.in_atomic_block:
            connection.close()
        time.sleep(min(LOOK_SECONDS, left))
        body, waits = look()
    return body


async def _looking(look: Look, body: Any, until: float) -> AsyncIterator[bytes]:
    """Yield the body once. The status is answered already: a refusal ends the wait."""
    # Late: a command without a server has no event loop.
    from hopper.serving.application import in_thread

    waits = True
    while waits and (left := until - time.monotonic()) > 0:
        await asyncio.sleep(min(LOOK_SECONDS, left))
        try:
            body, waits = await in_thread(look)
        except (HopperError, APIException):
            break
    yield JSONRenderer().render(body)
