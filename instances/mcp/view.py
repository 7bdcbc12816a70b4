"""The address `/mcp`: messages, the stream that keeps a session alive, and the end of a session."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from typing import Any, cast
from urllib.parse import urlsplit

from django.http import HttpResponse, JsonResponse, StreamingHttpResponse
from rest_framework.authentication import SessionAuthentication
from rest_framework.exceptions import APIException, MethodNotAllowed, PermissionDenied
from rest_framework.renderers import JSONRenderer
from rest_framework.request import Request
from rest_framework.settings import api_settings
from rest_framework.views import APIView

from hopper.actors import Actor
from hopper.errors import HopperError
from hopper.json_values import read_json
from hopper.rest.auth import LeaseAuthentication
from hopper.rest.described import extend_schema
from hopper.rest.input import require_known
from hopper.rest.streams import STREAM_HEADERS, StreamRenderer
from hopper.serving.application import in_thread
from instances.api.permissions import actor_of
from instances.mcp.server import Caller, answered
from instances.models import AgentSession
from instances.tasks.sessions import attend, end_session, find_session, leave, open_session

PARSE_ERROR = -32700
SESSION = "Mcp-Session-Id"
LOOK_SECONDS = 8.0
"""The time between two looks of a stream at the rights of its agent and at its leases."""

RETRY = b"retry: 10000\n\n"
"""Says when to connect again. The official client tries twice, so a server may be away for 20 s."""


@extend_schema(exclude=True)
class McpView(APIView):
    """Speaks the Model Context Protocol over HTTP."""

    authentication_classes = [
        kind
        for kind in cast("Any", api_settings.DEFAULT_AUTHENTICATION_CLASSES)
        if kind not in (LeaseAuthentication, SessionAuthentication)
    ]
    renderer_classes = (JSONRenderer, StreamRenderer)

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        """Refuse strangers and the pages of other sites. Raises PermissionDenied and Invalid."""
        super().initial(request, *args, **kwargs)
        require_known(request.query_params, ())
        origin = request.headers.get("Origin")
        if origin is not None and urlsplit(origin).netloc != request.get_host():
            raise PermissionDenied("A page of another site may not speak to the MCP server.")

    def post(self, request: Request) -> HttpResponse:
        """Return the answer to the message in the body. `initialize` opens a session."""
        is_json = request.content_type.partition(";")[0].strip() == "application/json"
        if is_json and (refused := _refused(request._request.body)):
            return refused
        actor, session = actor_of(request), self._session(request)
        if session:
            attend(session, streaming=False, actor=actor)
        response = answered(Caller(request._request, actor, session))
        if session is None and _is_initialized(request._request.body, response):
            response.headers[SESSION] = open_session(actor).pk
        return response

    def get(self, request: Request) -> StreamingHttpResponse:
        """Keep the session alive by a stream. Raises MethodNotAllowed without ASGI or session."""
        session = self._session(request)
        if session is None or not hasattr(request._request, "scope"):
            raise MethodNotAllowed("GET")
        look = self._look(session, actor_of(request))
        return SessionStream(_signs_of_life(look), session.pk)

    def delete(self, request: Request) -> HttpResponse:
        """End the session: its leases are given back. Raises MethodNotAllowed without a session."""
        session = self._session(request)
        if session is None:
            raise MethodNotAllowed("DELETE")
        end_session(session, actor_of(request))
        return HttpResponse(status=204)

    def _session(self, request: Request) -> AgentSession | None:
        """Return the session that the message names, if it does. Raises NotFound."""
        named = request.headers.get(SESSION)
        return None if named is None else find_session(named, actor_of(request))

    def _look(self, session: AgentSession, actor: Actor) -> Callable[[], bool]:
        """Return a function for the stream: attend to the session; false where it has to end."""

        def look() -> bool:
            try:
                fresh = actor_of(self.initialize_request(self.request._request))
            except (APIException, HopperError):
                return False
            return fresh == actor and attend(session, streaming=True, actor=actor)

        return look


class SessionStream(StreamingHttpResponse):
    """The stream of a session. An agent that closes it has left, for now or for ever."""

    def __init__(self, content: AsyncIterator[bytes], session_id: str) -> None:
        super().__init__(content, content_type="text/event-stream", headers=STREAM_HEADERS)
        self._session_id = session_id

    def close(self) -> None:
        """Begin the grace of the session, unless the server itself ends the stream."""
        if getattr(self, "client_left", False):
            leave(self._session_id)
        super().close()


async def _signs_of_life(look: Callable[[], bool]) -> AsyncIterator[bytes]:
    yield RETRY
    while await in_thread(look):
        await asyncio.sleep(LOOK_SECONDS)
        yield b": \n\n"


def _refused(body: bytes) -> HttpResponse | None:
    """Return the refusal of a body that is no strict JSON, in the form of the SDK's refusals.

    The SDK replaces bytes that are not UTF-8, and takes one value of a key that stands twice.
    """
    try:
        read_json(body)
    except ValueError as error:
        told = {"code": PARSE_ERROR, "message": f"The body is not JSON: {error}."}
        return JsonResponse({"jsonrpc": "2.0", "id": None, "error": told}, status=400)
    return None


def _is_initialized(body: bytes, response: HttpResponse) -> bool:
    """Return whether the message was `initialize`, and the answer is no refusal."""
    try:
        message, answer = json.loads(body), json.loads(response.content)
    except ValueError:
        return False
    messages = isinstance(message, dict) and isinstance(answer, dict)
    return messages and message.get("method") == "initialize" and "result" in answer
