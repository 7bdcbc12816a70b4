"""Around every request: its id, and one form of its path."""

from __future__ import annotations

import logging
import re
import secrets
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from django.http import HttpRequest, HttpResponse

logger = logging.getLogger("hopper.requests")

_ACCEPTED = re.compile(r"[\x21-\x7e]{1,128}")


class RequestMiddleware:
    """Echo and log `X-Request-ID`; answer a path with a trailing slash as the one without."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self._get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        given = request.headers.get("X-Request-ID", "")
        request_id = given if _ACCEPTED.fullmatch(given) else secrets.token_hex(8)
        if request.path_info.startswith("/api/") and request.path_info.endswith("/"):
            request.path_info = request.path_info[:-1]
        response = self._get_response(request)
        response["X-Request-ID"] = request_id
        logger.info(
            "request",
            extra={
                "event": "request",
                "request_id": request_id,
                "method": request.method,
                "path": request.path,
                "status": response.status_code,
            },
        )
        return response
