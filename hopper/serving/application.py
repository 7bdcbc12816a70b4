"""The ASGI application: bodies and streams in the event loop, views in a fixed set of threads."""

from __future__ import annotations

import asyncio
import contextvars
import sys
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from functools import partial
from io import BytesIO
from typing import Any, ParamSpec, TypeVar, cast

from asgiref.sync import sync_to_async
from django.conf import settings
from django.core import signals
from django.core.handlers.asgi import ASGIHandler, get_script_prefix
from django.http import HttpResponse, StreamingHttpResponse
from django.urls import get_resolver, set_script_prefix

from hopper import database
from hopper.rest.compression import compress
from hopper.rest.problem import respond
from hopper.serving.bodies import (
    UNKNOWN_BYTES,
    Body,
    BodyRefused,
    Disconnected,
    Receive,
    Scope,
    read,
)
from hopper.serving.senders import is_known
from hopper.serving.warming import warm_up

Answer = HttpResponse | StreamingHttpResponse
Send = Callable[[Mapping[str, Any]], Awaitable[None]]

P = ParamSpec("P")
R = TypeVar("R")

THREADS = 8
MOST_WAITING = 256
"""The most requests that may wait for a thread. The next one is answered 503."""
WAIT_SECONDS = 10
"""The longest wait of a request for a thread, while a lock of the database holds up the threads."""
HEALTH = ("/healthz", "/health")
"""The addresses that have a thread of their own, because they never wait for the database."""
_RETRY = {"Retry-After": "1"}

_threads: contextvars.ContextVar[ThreadPoolExecutor] = contextvars.ContextVar("threads")


async def in_thread(function: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
    """Call a function that uses the database, from the asynchronous content of a stream."""
    pool = _threads.get(None)
    if pool is None:  # under another server, or in a test
        return await sync_to_async(function)(*args, **kwargs)
    call = partial(_with_fresh_connection, function, *args, **kwargs)
    return await asyncio.get_running_loop().run_in_executor(pool, call)


def _with_fresh_connection(function: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
    signals.request_started.send(sender=Application)
    try:
        database.skip_health_check()
        return function(*args, **kwargs)
    finally:
        signals.request_finished.send(sender=Application)


class Application(ASGIHandler):
    """Runs the views in threads that keep their connections to the database.

    A view that answers a StreamingHttpResponse with an asynchronous iterator gives its thread
    back at once: the event loop sends the stream.
    """

    def __init__(self, threads: int = THREADS) -> None:
        self.load_middleware()
        # Loads the views before the workers fork, which so share the counters of the limits.
        _ = get_resolver().url_patterns
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="hopper")
        self._health = ThreadPoolExecutor(1, thread_name_prefix="health")
        self._free = threads + MOST_WAITING
        self._waiting_for_clients: set[asyncio.Task[Any]] = set()
        self._stopping = False

    def begin(self) -> None:
        """Warm up in a thread, because the server has begun. Requests do not wait for it."""
        self._pool.submit(_with_fresh_connection, warm_up)

    def stop(self) -> None:
        """End all streams and the wait for unfinished bodies, because the server stops."""
        self._stopping = True
        for task in self._waiting_for_clients:
            task.cancel()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            raise ValueError(f"This application serves HTTP, not {scope['type']}.")
        _threads.set(self._pool)
        with suppress(Disconnected):
            response = await self._response(scope, receive)
            if isinstance(response, StreamingHttpResponse):
                await self._stream(response, receive, send)
            else:
                response.headers.setdefault("Content-Length", str(len(response.content)))
                await self.send_response(response, send)

    async def _response(self, scope: Scope, receive: Receive) -> Answer:
        """Return the answer to a request. A refusal of the server itself is a problem as well."""
        try:
            with self._until_stop():
                body = await read(scope, receive, partial(self._limit, scope))
            if scope["path"] in HEALTH:
                return await asyncio.wrap_future(self._health.submit(self._view, scope, body))
            return await self._in_thread(self._view, scope, body)
        except BodyRefused as refused:
            return respond(refused.status, refused.code, refused.detail)
        except _Busy:
            return respond(503, "busy", "The server has too much to do; try again.", _RETRY)
        except asyncio.CancelledError:
            if not self._stopping:
                raise
            return respond(503, "stopping", "The server stops. Send the request again.", _RETRY)

    async def _limit(self, scope: Scope) -> int:
        """Return the most bytes that the sender of this request may send, 0 for a stranger.

        A page takes the form of the log-in from a stranger.
        """
        request, _ = self.create_request(scope, BytesIO())
        if request is None:
            return 0
        if await self._in_thread(is_known, request):
            return settings.DATA_UPLOAD_MAX_MEMORY_SIZE or sys.maxsize
        return 0 if request.path_info.startswith("/api/") else UNKNOWN_BYTES

    async def _in_thread(self, function: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
        """Call a function in a thread. Raises _Busy where too many wait for one, or too long."""
        if self._free <= 0:
            raise _Busy
        self._free -= 1
        job = self._pool.submit(partial(_with_fresh_connection, function, *args, **kwargs))
        answer = asyncio.wrap_future(job)
        try:
            await asyncio.wait({answer}, timeout=WAIT_SECONDS)
            if job.cancel():  # no thread has begun it
                raise _Busy
            return await answer
        finally:
            job.cancel()
            self._free += 1

    def _view(self, scope: Scope, body: Body) -> Answer:
        """Return the answer of the view. The content of a synchronous stream is read here."""
        set_script_prefix(get_script_prefix(scope))
        request, response = self.create_request(scope, body)
        if request is None:
            return respond(400, "bad_request", "The address is not UTF-8.")
        response = self.get_response(request)
        if isinstance(response, HttpResponse):
            if request.path_info.startswith("/api/"):
                compress(request, response)
            response.close()
            return response
        if isinstance(response, StreamingHttpResponse) and response.is_async:
            return response
        whole = HttpResponse(
            b"".join(cast("Iterable[bytes]", response)), status=response.status_code
        )
        whole.headers, whole.cookies = response.headers, response.cookies
        response.close()
        return whole

    async def _stream(self, response: StreamingHttpResponse, receive: Receive, send: Send) -> None:
        """Send a stream until its end, until the client leaves or until the server stops."""
        sending = asyncio.create_task(self.send_response(response, send))
        leaving = asyncio.create_task(_left(receive))
        try:
            with self._until_stop():
                await asyncio.wait({sending, leaving}, return_when=asyncio.FIRST_COMPLETED)
        except asyncio.CancelledError:
            if not self._stopping:
                raise
        finally:
            cut = not sending.done()
            # A response may want to know at its end whether its client wanted no more of it. The
            # attribute is this application's own.
            response.client_left = leaving.done()  # type: ignore[attr-defined]
            for task in (sending, leaving):
                task.cancel()
            await asyncio.gather(sending, leaving, return_exceptions=True)
            await in_thread(response.close)
        if cut:
            await send({"type": "http.response.body"})
        else:
            sending.result()

    @contextmanager
    def _until_stop(self) -> Iterator[None]:
        """Register the present task, so that `stop` can cancel it."""
        task = asyncio.current_task()
        if task is None:
            raise RuntimeError("outside of a task")
        self._waiting_for_clients.add(task)
        try:
            yield
        finally:
            self._waiting_for_clients.discard(task)


class _Busy(Exception):
    """All threads work, and too many requests wait for one, or this one waited too long."""


async def _left(receive: Receive) -> None:
    """Return when the client has closed the connection."""
    while (await receive())["type"] != "http.disconnect":
        pass
