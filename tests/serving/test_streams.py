"""A stream holds no thread, and ends with its client or its server."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import pytest
from django.http import HttpRequest, HttpResponse, StreamingHttpResponse
from django.urls import path

from hopper.rest import health
from hopper.serving.application import Application, in_thread

ended: list[str] = []
unlocked = threading.Event()


async def numbers() -> AsyncIterator[bytes]:
    """Send a number each 10 ms, for ever."""
    try:
        for number in range(10_000):
            name = await in_thread(lambda: threading.current_thread().name)
            yield f"{number} {name}\n".encode()
            await asyncio.sleep(0.01)
    finally:
        ended.append("numbers")


def stream(request: HttpRequest) -> StreamingHttpResponse:
    return StreamingHttpResponse(numbers(), content_type="text/plain")


def plain(request: HttpRequest) -> HttpResponse:
    return HttpResponse(b"plain")


def file(request: HttpRequest) -> StreamingHttpResponse:
    def parts() -> Iterator[bytes]:
        yield b"one "
        yield b"two"

    return StreamingHttpResponse(parts())


def stuck(request: HttpRequest) -> HttpResponse:
    """Hold the thread, as a lock of the database does."""
    unlocked.wait(60)
    return HttpResponse(b"unstuck")


urlpatterns = [
    *(path("stream", stream), path("plain", plain), path("file", file), path("stuck", stuck)),
    path("healthz", health.healthz),
]


class Client:
    """One request to the application, without a server."""

    def __init__(self, address: str) -> None:
        headers = [(b"host", b"localhost")]
        self.scope = {"type": "http", "method": "GET", "path": address, "headers": headers}
        self.sent: list[dict[str, Any]] = []
        self.gone = asyncio.Event()

    async def receive(self) -> dict[str, Any]:
        await self.gone.wait()
        return {"type": "http.disconnect"}

    async def send(self, message: Any) -> None:
        self.sent.append(dict(message))

    @property
    def body(self) -> bytes:
        return b"".join(message.get("body", b"") for message in self.sent)

    async def ask(self, application: Application) -> None:
        await application(self.scope, self.receive, self.send)


@pytest.fixture
def application(settings: Any) -> Application:
    settings.ROOT_URLCONF = __name__
    ended.clear()
    return Application(threads=1)


async def _begun(client: Client) -> None:
    while not client.body:
        await asyncio.sleep(0.005)


@pytest.mark.parametrize("end", ["client", "server"])
def test_a_stream_leaves_its_thread_to_others_and_ends(application: Application, end: str) -> None:
    async def scene() -> tuple[Client, Client]:
        watching, other = Client("/stream"), Client("/plain")
        task = asyncio.create_task(watching.ask(application))
        await _begun(watching)
        await other.ask(application)
        finish: Callable[[], None] = watching.gone.set if end == "client" else application.stop
        finish()
        await asyncio.wait_for(task, 60)
        return watching, other

    watching, other = asyncio.run(scene())
    assert other.body == b"plain"
    assert b"0 hopper_0\n" in watching.body
    assert watching.sent[-1] == {"type": "http.response.body"}
    assert ended == ["numbers"]


def test_a_synchronous_stream_is_sent_whole(application: Application) -> None:
    async def scene() -> Client:
        client = Client("/file")
        await client.ask(application)
        return client

    assert asyncio.run(scene()).body == b"one two"


def test_one_request_too_many_gets_a_time_to_try_again(application: Application) -> None:
    async def scene() -> Client:
        client = Client("/plain")
        application._free = 0
        await client.ask(application)
        return client

    client = asyncio.run(scene())
    assert client.sent[0]["status"] == 503
    assert (b"Retry-After", b"1") in client.sent[0]["headers"]


def test_while_all_threads_are_busy_health_answers_and_others_get_503(
    application: Application, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hopper.serving.application.WAIT_SECONDS", 0.2)
    unlocked.clear()

    async def scene() -> list[Client]:
        held, alive, late = Client("/stuck"), Client("/healthz"), Client("/plain")
        holding = asyncio.create_task(held.ask(application))
        await asyncio.sleep(0.05)
        await asyncio.wait_for(alive.ask(application), 60)
        await asyncio.wait_for(late.ask(application), 60)
        unlocked.set()
        await asyncio.wait_for(holding, 60)
        return [held, alive, late]

    held, alive, late = asyncio.run(scene())
    assert alive.body == b'{"status": "ok"}'
    assert late.sent[0]["status"] == 503
    assert (b"Retry-After", b"1") in late.sent[0]["headers"]
    assert (held.sent[0]["status"], held.body) == (200, b"unstuck")
