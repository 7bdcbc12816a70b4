"""MCP over HTTP at `/mcp`: one message a request, with the rights of the caller's token.

No session is kept, so any process of any server answers. A lease is an ordinary one: the agent
extends it by heartbeats, and the tools find its token by the name of its worker.
"""

from __future__ import annotations

from contextlib import contextmanager, suppress
from contextvars import ContextVar
from functools import cache
from typing import TYPE_CHECKING, Any, cast
from urllib.parse import urlsplit

import anyio
from asgiref.sync import async_to_sync, sync_to_async
from django.http import HttpRequest, HttpResponse
from rest_framework.authentication import SessionAuthentication
from rest_framework.exceptions import NotFound, PermissionDenied
from rest_framework.settings import api_settings
from rest_framework.views import APIView

from hopper.cli.local import OPERATOR_KEY, LocalTransport
from hopper.cli.transport import Client, Refused, at
from hopper.rest.auth import LeaseAuthentication
from hopper.rest.described import extend_schema

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from rest_framework.request import Request

_REQUEST: ContextVar[HttpRequest] = ContextVar("request")
_PASSED = ("HTTP_AUTHORIZATION", "HTTP_HOST", "HTTP_X_REQUEST_ID", "REMOTE_ADDR")
_STARTED = ["claimed", "in_progress"]


class CallerTransport(LocalTransport):
    """Calls the REST interface with the credentials of the request that is being answered."""

    def _environ(self, method: str, path: str, query: str, payload: bytes) -> dict[str, Any]:
        environ = super()._environ(method, path, query, payload)
        request = _REQUEST.get()
        del environ[OPERATOR_KEY]
        given = {name: request.META[name] for name in _PASSED if name in request.META}
        return {**environ, "wsgi.url_scheme": request.scheme, **given}


class CallerLeases:
    """The leases of the caller, as the server knows them; nothing is kept between requests."""

    def __init__(self, client: Client) -> None:
        self._client = client

    @property
    def worker(self) -> str:
        """The name of the caller."""
        return str(self._client.get(at("me"))["name"])

    def keep(self, task: dict[str, Any], worker: str) -> None:
        """Keep nothing: the lease lives by its own length."""

    def drop(self, task_id: str, token: str | None = None) -> None:
        """Drop nothing."""

    def token(self, task_id: str) -> str | None:
        """Return the token of the lease that the caller's worker has; a claim repeats it (R20)."""
        worker = self.worker
        with suppress(Refused):
            if task_id in self.task_ids():
                task = self._client.post(at("tasks", task_id, "claim"), {"worker": worker})
                return str(task["lease"]["token"])
        return None

    def task_ids(self) -> list[str]:
        """Return the ids of the tasks that the caller's worker holds."""
        params = {"worker": self.worker, "status": _STARTED}
        return [row["id"] for row in self._client.pages(at("tasks"), params, limit=500)]

    @contextmanager
    def call(self) -> Iterator[None]:
        """Count nothing: no end of a session waits for a call."""
        yield


@extend_schema(exclude=True)
class McpView(APIView):
    """Answers one message of the Model Context Protocol."""

    authentication_classes = [
        kind
        for kind in cast("Any", api_settings.DEFAULT_AUTHENTICATION_CLASSES)
        if kind not in (LeaseAuthentication, SessionAuthentication)
    ]

    def post(self, request: Request) -> HttpResponse:
        """Return the answer of the MCP server to the message in the body."""
        origin = request.headers.get("Origin")
        if origin is not None and urlsplit(origin).netloc != request.get_host():
            raise PermissionDenied("A page of another site may not speak to the MCP server.")
        plain: HttpRequest = request._request
        token = _REQUEST.set(plain)
        try:
            return async_to_sync(_answered)(plain)
        finally:
            _REQUEST.reset(token)


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
    content = b"".join(message.get("body", b"") for message in sent[1:])
    response = HttpResponse(content, status=head["status"])
    for name, value in head.get("headers", ()):
        response.headers[name.decode("latin-1")] = value.decode("latin-1")
    return response


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
