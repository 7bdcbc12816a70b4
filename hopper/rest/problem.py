"""Turns every refusal into RFC 9457 `application/problem+json`."""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Iterable, Mapping
from http import HTTPStatus
from typing import Any, cast

from django.conf import settings
from django.core import signals
from django.core.exceptions import DisallowedHost, RequestDataTooBig, SuspiciousOperation
from django.http import Http404, HttpRequest, HttpResponse
from drf_standardized_errors.formatter import flatten_errors
from drf_standardized_errors.handler import ExceptionHandler
from rest_framework import exceptions
from rest_framework.negotiation import DefaultContentNegotiation
from rest_framework.renderers import JSONRenderer
from rest_framework.request import Request
from rest_framework.response import Response

from hopper.config.document import BrokenConfig
from hopper.counts import counted
from hopper.database import is_outage, outage_words
from hopper.errors import FieldError, HopperError
from hopper.json_values import shown
from hopper.masks import masked
from hopper.rest.input import TooLarge, summary
from hopper.upgrades import OlderServer

logger = logging.getLogger(__name__)

RETRY_SECONDS = 1
MAX_ERRORS = 20
MAX_DETAIL = 4000
MEDIA_TYPE = "application/problem+json"
HOW_TO_GET_IN = (
    "Send `Authorization: Bearer hop_…`. A person who can run the server's commands gets a token "
    "by `hopper token create NAME`."
)
_RESERVED = frozenset({"type", "title", "status", "detail", "code", "errors", "more_errors"})


def problem(
    status: int,
    code: str,
    detail: str,
    errors: Iterable[FieldError] = (),
    extra: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Return the members of one problem; `extra` are its extension members.

    The first 20 errors are named; `more_errors` counts the others. So the answer stays small.
    A secret that stands at the wrong place of a request is not repeated.
    """
    detail = masked(detail)
    found = list(errors)
    listed = [
        {"field": masked(error.field), "code": error.code, "detail": masked(error.detail)}
        for error in found[:MAX_ERRORS]
    ]
    left_out = len(found) - len(listed)
    more = {name: value for name, value in (extra or {}).items() if name not in _RESERVED}
    return {
        "type": "about:blank",
        "title": HTTPStatus(status).phrase,
        "status": status,
        "code": code,
        "detail": detail if len(detail) <= MAX_DETAIL else detail[:MAX_DETAIL] + "…",
        **({"errors": listed} if listed else {}),
        **({"more_errors": left_out} if left_out else {}),
        **more,
    }


class Negotiation(DefaultContentNegotiation):
    """Takes a caller that accepts problems as one that accepts JSON."""

    def get_accept_list(self, request: Request) -> list[str]:
        """Return the media types that the caller accepts."""
        accepted = super().get_accept_list(request)
        return [media_type.replace(MEDIA_TYPE, "application/json") for media_type in accepted]


class ProblemHandler(ExceptionHandler):
    """Turns every exception of a view into a problem."""

    def convert_known_exceptions(self, exc: Exception) -> Exception:
        """Return the DRF exception for an exception of Django."""
        if isinstance(exc, Http404):
            return exceptions.NotFound("There is nothing here that you may see.")
        if isinstance(exc, RequestDataTooBig):
            return TooLarge()
        if isinstance(exc, SuspiciousOperation):
            return exceptions.ParseError("The request is malformed.")
        return super().convert_known_exceptions(exc)

    def should_not_handle(self, exc: Exception) -> bool:
        """Answer every exception, also under HOPPER_DEBUG."""
        return False

    # The library has no types; its own answer is an APIException.
    def convert_unhandled_exceptions(  # type: ignore[override]
        self, exc: Exception
    ) -> Exception:
        """Return the exception unchanged: `format_exception` handles the errors of the services."""
        return exc

    def format_exception(self, exc: Exception) -> dict[str, Any]:
        """Return the members of the problem, without the message of an unknown exception."""
        if isinstance(exc, HopperError):
            return problem(exc.status, exc.code, exc.detail, exc.errors, exc.extra)
        if isinstance(exc, BrokenConfig):
            # A server does not start with a broken configuration. A local command shows the faults.
            return problem(503, "broken_configuration", str(exc))
        if isinstance(exc, OlderServer):
            return problem(503, "older_server", str(exc))
        if is_outage(exc):
            return problem(503, "database_unavailable", outage_words(exc))
        if isinstance(exc, exceptions.APIException):
            return _of_api_exception(exc)
        return problem(500, "server_error", "The server failed. The server's log gives the cause.")

    def get_response(self, exc: Exception, data: dict[str, Any]) -> Response:
        """Return the answer as JSON, also for a view that renders another type."""
        request = self.context.get("request")
        if request is not None:
            request.accepted_renderer = JSONRenderer()
            request.accepted_media_type = MEDIA_TYPE
        headers = self.get_headers(cast("exceptions.APIException", exc))
        if is_outage(exc):
            headers["Retry-After"] = str(RETRY_SECONDS)
        return Response(data, data["status"], headers=headers, content_type=MEDIA_TYPE)

    def report_exception(self, exc: Exception, response: Response) -> None:
        """Log a failure of the server or of its database."""
        request = getattr(self.context.get("request"), "_request", None)
        if is_outage(exc):
            _log_outage(request, exc, response)
        elif response.status_code == HTTPStatus.INTERNAL_SERVER_ERROR:
            signals.got_request_exception.send(sender=None, request=request)
            logger.error(
                "request failed",
                exc_info=exc,
                extra={"event": "request_failed", "path": getattr(request, "path", "")},
            )


def _of_api_exception(exc: exceptions.APIException) -> dict[str, Any]:
    found = flatten_errors(exc.detail)
    if isinstance(exc, exceptions.ValidationError):
        errors = [_field_error(error.attr, error.code, error.detail) for error in found]
        return problem(400, "invalid", summary(errors) or "The input is not valid.", errors)
    code, detail = (found[0].code, found[0].detail) if found else ("error", str(exc))
    if isinstance(exc, exceptions.NotAuthenticated | exceptions.AuthenticationFailed):
        detail = f"{detail} {HOW_TO_GET_IN}"
    return problem(exc.status_code, code, detail)


def _field_error(attr: str | None, code: str, detail: str) -> FieldError:
    field = (attr or "").removesuffix("non_field_errors").removesuffix(".")
    return FieldError(field or "body", code, detail)


def _log_outage(request: Any, exc: BaseException | None, response: HttpResponse) -> None:
    # The log keeps only the cause: one traceback for each request would flood the log.
    logger.error(
        "database unavailable: %s",
        " ".join(str(exc).split()),
        extra={"event": "database_unavailable", "path": getattr(request, "path", "")},
    )
    # Django's own mark: it would log a second line for this answer.
    response._has_been_logged = True  # type: ignore[attr-defined]


def respond(
    status: int,
    code: str,
    detail: str,
    headers: dict[str, str] | None = None,
    errors: Iterable[FieldError] = (),
) -> HttpResponse:
    """Return a problem for a request that no view of Hopper handles."""
    body = json.dumps(problem(status, code, detail, errors))
    return HttpResponse(body, status=status, content_type=MEDIA_TYPE, headers=headers)


def locked_out(request: HttpRequest, *_: Any) -> HttpResponse:
    """Answer a log-in after too many wrong passwords (429)."""
    seconds = int(settings.AXES_COOLOFF_TIME.total_seconds())
    words = f"Too many wrong passwords. Try again in {counted(max(1, seconds // 60), 'minute')}."
    return respond(429, "throttled", words, {"Retry-After": str(seconds)})


def not_found(request: HttpRequest, exception: Exception) -> HttpResponse:
    """Answer an unknown address (404)."""
    return respond(404, "not_found", f"There is nothing at {request.path}.")


def bad_request(request: HttpRequest, exception: Exception) -> HttpResponse:
    """Answer a request that Django refuses (400)."""
    if isinstance(exception, RequestDataTooBig):
        return respond(413, "too_large", str(TooLarge.default_detail))
    if isinstance(exception, DisallowedHost):
        host = shown(request.META.get("HTTP_HOST", ""))
        words = f"This server does not answer to the name {host!r}; see HOPPER_ALLOWED_HOSTS."
        return respond(400, "wrong_host", words)
    return respond(400, "bad_request", "The request is malformed.")


def denied(request: HttpRequest, exception: Exception) -> HttpResponse:
    """Answer a request that Django forbids (403)."""
    return respond(403, "not_allowed", "You may not do this.")


def csrf_failed(request: HttpRequest, reason: str = "") -> HttpResponse:
    """Answer 403 to a form that lacks the CSRF token of this site."""
    words = "The form comes from no page of this site, or its cookie is gone: open the page again."
    return respond(403, "csrf_failed", words)


def server_error(request: HttpRequest) -> HttpResponse:
    """Answer a failure outside of the views of Hopper (500), without its message."""
    failure = sys.exc_info()[1]
    if isinstance(failure, OlderServer):
        return respond(503, "older_server", str(failure))
    if is_outage(failure):
        retry = {"Retry-After": str(RETRY_SECONDS)}
        response = respond(503, "database_unavailable", outage_words(failure), retry)
        _log_outage(request, failure, response)
        return response
    return respond(500, "server_error", "The server failed. The server's log gives the cause.")
