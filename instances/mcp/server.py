"""The MCP server of this process: its tools call the REST interface as their caller.

A message stands alone, so any process of any server answers. The state of a session (its leases) is
in the database.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from dataclasses import dataclass
from functools import cache
from typing import Any, cast

import anyio
from asgiref.sync import async_to_sync, sync_to_async
from django.http import HttpRequest, HttpResponse
from rest_framework.exceptions import NotFound

from hopper.actors import Actor
from hopper.cli.local import OPERATOR_KEY, LocalTransport
from hopper.cli.transport import Client, Refused, at
from hopper.rest.problem import respond
from instances.models import AgentSession
from instances.tasks.sessions import keep_lease, live_leases

_PASSED = ("HTTP_AUTHORIZATION", "HTTP_HOST", "HTTP_X_REQUEST_ID", "REMOTE_ADDR")
_STARTED = ["claimed", "in_progress"]


@dataclass(frozen=True)
class Caller:
    """The sender of the message that is being answered; `session` None: the message has none."""

    request: HttpRequest
    actor: Actor
    session: AgentSession | None

    @property
    def worker(self) -> str:
        """The worker's name: that of the token, in a session with a part of the session's id."""
        return f"{self.actor.name}-{self.session.pk[:6]}" if self.session else self.actor.name


_CALLER: ContextVar[Caller] = ContextVar("caller")


class CallerTransport(LocalTransport):
    """Calls the REST interface with the credentials of the request that is being answered."""

    def _environ(self, method: str, path: str, query: str, payload: bytes) -> dict[str, Any]:
        environ = super()._environ(method, path, query, payload)
        request = _CALLER.get().request
        del environ[OPERATOR_KEY]
        given = {name: request.META[name] for name in _PASSED if name in request.META}
        return {**environ, "wsgi.url_scheme": request.scheme, **given}


class CallerLeases:
    """The leases of the caller: those of its session, else those of the worker of its name."""

    def __init__(self, client: Client) -> None:
        self._client = client

    @property
    def worker(self) -> str:
        """The name of the caller's worker."""
        return _CALLER.get().worker

    def keep(self, task: dict[str, Any], worker: str) -> None:
        """Tie a lease to the session. Without one the lease lives by its own length."""
        caller = _CALLER.get()
        if caller.session:
            keep_lease(caller.session, task["id"], task["lease"]["attempt"], caller.actor)

    def drop(self, task_id: str, token: str | None = None) -> None:
        """Drop nothing: the end of an attempt is in the database."""

    def token(self, task_id: str) -> str | None:
        """Return the token of the caller's lease of a task, if there is one."""
        session = _CALLER.get().session
        if session:
            attempt = live_leases(session).filter(task=task_id).first()
            return attempt.lease_token if attempt else None
        with suppress(Refused):
            if task_id in self.task_ids():
                # The claim repeated gives the same lease (R20).
                task = self._client.post(at("tasks", task_id, "claim"), {"worker": self.worker})
                return str(task["lease"]["token"])
        return None

    def task_ids(self) -> list[str]:
        """Return the ids of the tasks that the caller holds, the oldest first."""
        session = _CALLER.get().session
        if session:
            return list(live_leases(session).values_list("task_id", flat=True))
        params = {"worker": self.worker, "status": _STARTED}
        return [row["id"] for row in self._client.pages(at("tasks"), params, limit=500)]

    @contextmanager
    def call(self) -> Iterator[None]:
        """Count nothing: no end of a session waits for a call."""
        yield


def answered(caller: Caller) -> HttpResponse:
    """Return the answer to the caller's message. Raises NotFound without the extra `mcp`."""
    token = _CALLER.set(caller)
    try:
        return async_to_sync(_answered)(caller.request)
    finally:
        _CALLER.reset(token)


async def _answered(request: HttpRequest) -> HttpResponse:
    """Return the answer of the SDK's transport. Raises NotFound without the extra `mcp`."""
    try:
        from mcp.server.streamable_http_manager import StreamableHTTPSessionManager
    except ModuleNotFoundError as error:
        raise NotFound("The MCP server needs the extra: pip install 'hopper-queue[mcp]'") from error
    manager = StreamableHTTPSessionManager(_server(), json_response=True, stateless=True)
    sent: list[dict[str, Any]] = []
    body = [{"type": "http.request", "body": request.body, "more_body": False}]

    async def receive() -> dict[str, Any]:
        if not body:
            await anyio.sleep_forever()
        return body.pop()

    async def send(message: Any) -> None:
        sent.append(dict(message))

    async with manager.run():
        await manager.handle_request(_scope(request), cast("Any", receive), send)
    head = sent[0]
    headers = {
        name.decode("latin-1").lower(): value.decode("latin-1")
        for name, value in head.get("headers", ())
        if name.lower() != b"content-length"
    }
    content = b"".join(message.get("body", b"") for message in sent[1:])
    if content and "content-type" not in headers:  # The SDK refuses wrong headers in plain words.
        return respond(head["status"], "bad_message", content.decode(), headers)
    return HttpResponse(content, status=head["status"], headers=headers)


@cache
def _server() -> Any:
    """Return the MCP server of this process; its tools run in the thread of their request."""
    from hopper.cli.mcp.server import build_server

    client = Client(CallerTransport())
    server = build_server(client, cast("Any", CallerLeases(client)), run=_in_thread_of_request)
    server.streamable_http_app(stateless_http=True)
    return server.session_manager.app


async def _in_thread_of_request(call: Callable[[], Any]) -> Any:
    return await sync_to_async(call)()


def _scope(request: HttpRequest) -> dict[str, Any]:
    """Return the request in the form of ASGI, with the headers that the SDK reads."""
    headers = [
        (name.lower().encode("latin-1"), value.encode("latin-1"))
        for name, value in request.headers.items()
    ]
    return {
        "type": "http",
        "http_version": "1.1",
        "method": request.method,
        "scheme": request.scheme,
        "path": request.path,
        "raw_path": request.path.encode(),
        "root_path": "",
        "query_string": b"",
        "headers": headers,
        "client": None,
        "server": None,
    }
