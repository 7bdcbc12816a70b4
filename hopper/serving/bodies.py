"""Reads the body of a request in the event loop: no thread waits for a slow client."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from tempfile import SpooledTemporaryFile
from typing import Any

from django.conf import settings

Scope = dict[str, Any]
Receive = Callable[[], Awaitable[Mapping[str, Any]]]
Body = SpooledTemporaryFile[bytes]

AT_ONCE = 0.05
"""Seconds after which a body was not sent together with its head."""
UNKNOWN_BYTES = 64 * 1024
"""The most bytes of a body from an unknown sender: enough for the form of the log-in."""


class BodyRefused(Exception):
    """The server does not take the body: status, code and words of the answer."""

    def __init__(self, status: int, code: str, detail: str) -> None:
        super().__init__(detail)
        self.status, self.code, self.detail = status, code, detail


class Disconnected(Exception):
    """The client has closed the connection."""


def header(scope: Scope, name: bytes) -> bytes:
    """Return the value of a request header, empty where there is none."""
    return next((value for key, value in scope["headers"] if key == name), b"")


async def read(scope: Scope, receive: Receive, limit: Callable[[], Awaitable[int]]) -> Body:
    """Return the body of a request, at its first byte.

    A body that arrives together with its head is read at once, up to 64 KB. For any other body
    `limit` first tells how many bytes this sender may send; for 0 the body counts as empty. Raises
    BodyRefused for a larger body or after HOPPER_BODY_SECONDS, and Disconnected.
    """
    # The request closes the file.
    body: Body = SpooledTemporaryFile(settings.FILE_UPLOAD_MAX_MEMORY_SIZE)  # noqa: SIM115
    length = _length(scope)
    small = length is None or length <= UNKNOWN_BYTES
    whole = length == 0
    if not whole and small and not header(scope, b"expect"):
        whole = await _take(receive, body, UNKNOWN_BYTES, AT_ONCE)
    if not whole and (most := await limit()):
        if length is None or length <= most:
            whole = await _take(receive, body, most, settings.HOPPER_BODY_SECONDS)
        if not whole and max(length or 0, body.tell()) > most:
            raise BodyRefused(413, "too_large", f"A body may have at most {most} bytes.")
        if not whole:
            seconds = settings.HOPPER_BODY_SECONDS
            raise BodyRefused(408, "too_slow", f"The body did not arrive within {seconds} s.")
    body.seek(0)
    return body


def _length(scope: Scope) -> int | None:
    """Return the length of the body, or None where only its end tells."""
    if header(scope, b"transfer-encoding"):
        return None
    given = header(scope, b"content-length")
    return int(given) if given.isdigit() else 0


async def _take(receive: Receive, body: Body, most: int, seconds: float) -> bool:
    """Read on until the end, the limit or the time. Return whether the end was reached."""
    with suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            while body.tell() <= most:
                message = await receive()
                if message["type"] == "http.disconnect":
                    raise Disconnected
                body.write(message.get("body", b""))
                if not message.get("more_body"):
                    return body.tell() <= most
    return False
