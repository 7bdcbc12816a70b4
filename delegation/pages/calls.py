"""Calls of the REST interface in this process, as the signed-in person.

A button of a page so has the rights, the validation and the effect of the call of the interface.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from io import BytesIO
from typing import Any

from django.http import HttpRequest
from django.urls import resolve

from delegation.pages.visit import Visit
from hopper.errors import HopperError

_KEPT = ("HTTP_HOST", "SERVER_NAME", "SERVER_PORT", "REMOTE_ADDR", "wsgi.url_scheme")


class Refused(HopperError):
    """The interface refused the call."""

    def __init__(self, status: int, problem: Mapping[str, Any]) -> None:
        super().__init__(str(problem.get("detail", "")), code=str(problem.get("code", "")))
        self.status = status


@dataclass(frozen=True)
class Call:
    """One call: method, path below /api/v1, and body."""

    method: str
    path: str
    body: Any = None

    def of(self, visit: Visit) -> Any:
        """Make the call for a person. Return the answer's JSON. Raises Refused."""
        # The page has checked the token against forged requests.
        inner = _request(visit.request, self)
        inner.user = visit.request.user
        inner._dont_enforce_csrf_checks = True
        view, args, kwargs = resolve(inner.path_info)
        answer = view(inner, *args, **kwargs)
        if answer.status_code >= 400:
            raise Refused(answer.status_code, answer.data)
        return answer.data


def _request(outer: HttpRequest, call: Call) -> Any:
    """Return a request of its own: no header of the page's request speaks for another caller."""
    inner: Any = HttpRequest()
    body = b"" if call.body is None else json.dumps(call.body).encode()
    path, _, query = f"/api/v1{call.path}".partition("?")
    inner.method, inner.path, inner.path_info = call.method, path, path
    inner.META = {name: outer.META[name] for name in _KEPT if name in outer.META}
    inner.META |= {"REQUEST_METHOD": call.method, "QUERY_STRING": query}
    inner.META |= {"CONTENT_TYPE": "application/json", "CONTENT_LENGTH": str(len(body))}
    inner.GET = type(outer.GET)(query)
    inner.content_type = "application/json"
    inner.session = outer.session
    inner._stream = BytesIO(body)
    inner._read_started = False
    return inner
