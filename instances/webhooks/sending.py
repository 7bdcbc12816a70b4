"""One request to the receiver of a webhook, within ten seconds in all."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from http import HTTPStatus

import h11

from hopper import __version__
from hopper.errors import Invalid
from instances.webhooks.addresses import Refused, Target, target_of

SECONDS = 10.0
"""The longest time of a request, from the name to the status of the answer."""

MAX_HEAD = 16 * 1024
"""The most bytes of an answer's head. The body of an answer is not read."""

LONGEST_REASON = 200


@dataclass(frozen=True)
class Outcome:
    """The status of the answer (None without one), why it counts as a failure, and the seconds."""

    status: int | None
    reason: str
    seconds: float

    @property
    def is_delivered(self) -> bool:
        """Whether the receiver took the message: it answered 2xx."""
        return not self.reason

    @property
    def is_gone(self) -> bool:
        """Whether the receiver wants no more messages (410)."""
        return self.status == HTTPStatus.GONE


async def post(url: str, headers: Mapping[str, str], body: str) -> Outcome:
    """Send a message and return the outcome. Redirects are not followed."""
    clock = asyncio.get_running_loop().time
    began, status, reason = clock(), None, ""
    try:
        async with asyncio.timeout(SECONDS):
            status = await _status(target_of(url), headers, body.encode())
    except TimeoutError:
        reason = f"no answer within {SECONDS:g} s"
    except (Refused, Invalid) as refused:
        reason = str(refused)
    except ssl.SSLError as error:
        reason = f"TLS: {getattr(error, 'verify_message', '') or error.reason or error}"
    except OSError as error:
        reason = f"no connection: {error.strerror or error}"
    except h11.ProtocolError as error:
        reason = f"no HTTP answer: {error}"
    if status is not None:
        reason = _failure(status)
    return Outcome(status, reason[:LONGEST_REASON], clock() - began)


def _failure(status: int) -> str:
    if 200 <= status < 300:
        return ""
    return f"redirect {status} is not followed" if status < 400 else f"answered {status}"


async def _status(target: Target, headers: Mapping[str, str], body: bytes) -> int:
    """Return the status of the answer. Raises Refused, OSError, h11.ProtocolError."""
    address = await target.address()
    reader, writer = await asyncio.open_connection(
        address,
        target.port,
        ssl=_tls() if target.is_encrypted else None,
        server_hostname=target.host if target.is_encrypted else None,
    )
    try:
        talk = h11.Connection(h11.CLIENT, max_incomplete_event_size=MAX_HEAD)
        given = {
            "Host": target.host_header,
            "User-Agent": f"Hopper/{__version__}",
            "Content-Type": "application/json",
            "Content-Length": str(len(body)),
            "Connection": "close",
            **headers,
        }
        request = h11.Request(method="POST", target=target.path, headers=list(given.items()))
        for part in (request, h11.Data(body), h11.EndOfMessage()):
            writer.write(talk.send(part) or b"")
        await writer.drain()
        while not isinstance(event := talk.next_event(), h11.Response):
            if event is h11.NEED_DATA:
                talk.receive_data(await reader.read(MAX_HEAD))
            elif not isinstance(event, h11.InformationalResponse):
                raise h11.RemoteProtocolError("the connection was closed")
        return event.status_code
    finally:
        writer.transport.abort()


@cache
def _tls() -> ssl.SSLContext:
    return ssl.create_default_context()
