"""Middleware: request ids, one form of each path, a length for each body, a policy for pages."""

from __future__ import annotations

import logging
import re
import secrets
from collections.abc import Callable
from io import BytesIO
from urllib.parse import parse_qsl, unquote_to_bytes

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.utils.encoding import escape_uri_path

from hopper import tracing
from hopper.errors import FieldError
from hopper.json_values import shown
from hopper.masks import masked
from hopper.rest.input import MAY_BE_LONG, TOO_LONG, too_long
from hopper.rest.limits import may_sign_in, rest_of_minute
from hopper.rest.problem import respond

logger = logging.getLogger("hopper.requests")

MOST_ADDRESS = 16 * 1024
_ACCEPTED = re.compile(r"[\x21-\x7e]{1,128}")


class RequestMiddleware:
    """Echo and log `X-Request-ID`. Answer a path with a trailing slash like the path without."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self._get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        given = request.headers.get("X-Request-ID", "")
        taken = _ACCEPTED.fullmatch(given) and masked(given) == given
        request_id = given if taken else secrets.token_hex(8)
        request.path_info = one_form(request.path_info)
        refused = (
            _too_long(request)
            or _not_utf8(request)
            or _with_nul(request)
            or _measured(request)
            or _guessing(request)
        )
        with tracing.of_request(request.headers.get(tracing.HEADER, "")):
            response = refused or self._get_response(request)
        response["X-Request-ID"] = request_id
        logger.info(
            "request",
            extra={
                "event": "request",
                "request_id": request_id,
                "method": request.method,
                # Encoded again, so that no address can forge a second line in the log.
                "path": escape_uri_path(request.path),
                "status": response.status_code,
            },
        )
        return response


class ContentPolicyMiddleware:
    """Allows pages the scripts and styles in files of this server, none inside the page."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self._get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        response = self._get_response(request)
        if response.headers.get("Content-Type", "").startswith("text/html"):
            response.headers.setdefault("Content-Security-Policy", settings.CONTENT_POLICY)
        return response


def one_form(path: str) -> str:
    """Return the path of the REST interface without its trailing slash."""
    return path[:-1] if path.startswith("/api/") and path.endswith("/") else path


def _too_long(request: HttpRequest) -> HttpResponse | None:
    """Answer 414 for an address above the limit, 400 where one text in the query is too long."""
    query = request.META.get("QUERY_STRING", "")
    if len(request.path) + len(query) <= MOST_ADDRESS:
        return None
    for name, text in parse_qsl(query):
        if request.path_info.startswith("/api/") and name not in MAY_BE_LONG and too_long(text):
            return _refused(shown(name), "max_length", TOO_LONG)
    return respond(414, "address_too_long", f"An address has at most {MOST_ADDRESS} characters.")


def _not_utf8(request: HttpRequest) -> HttpResponse | None:
    """Answer 400 for an address that is not UTF-8. Django would read other characters in it."""
    scope = getattr(request, "scope", None)
    # Under WSGI Django puts %XX in the place of each byte that is not UTF-8. gunicorn also gives
    # the address as it was sent, in which `%25FF` is the text %FF.
    sent = request.META.get("RAW_URI", "").encode("latin-1", "replace").partition(b"?")[0]
    path = (scope or {}).get("raw_path") or sent or request.path_info
    if not _is_utf8(unquote_to_bytes(path)):
        return respond(400, "not_utf8", "The path is not UTF-8: encode it as UTF-8, then by %XX.")
    query = request.META.get("QUERY_STRING", "").encode("latin-1" if scope is None else "utf-8")
    for part in query.split(b"&"):
        if not _is_utf8(unquote_to_bytes(part)):
            name = shown(unquote_to_bytes(part.partition(b"=")[0]).decode("utf-8", "replace"))
            return _refused(name, "not_utf8", "must be UTF-8, then encoded by %XX")
    return None


def _refused(parameter: str, code: str, words: str) -> HttpResponse:
    """Answer 400 for a parameter of the query."""
    errors = [FieldError(parameter, code, words)]
    return respond(400, "invalid", f"{parameter}: {words}", errors=errors)


def _is_utf8(text: bytes) -> bool:
    try:
        text.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True


def _with_nul(request: HttpRequest) -> HttpResponse | None:
    """Answer 400 for an address with a NUL character. PostgreSQL refuses to search for NUL.

    The REST interface names the parameter itself.
    """
    if request.path_info.startswith("/api/"):
        return None
    if "\0" in request.path_info or "%00" in request.META.get("QUERY_STRING", ""):
        return respond(400, "null_character", "The address cannot contain the NUL character.")
    return None


def _guessing(request: HttpRequest) -> HttpResponse | None:
    """Answer 429 for a log-in from an address that has guessed too often, before its password.

    To compare a password takes a tenth of a second of this machine.
    """
    if request.method != "POST" or not request.path_info.endswith(("/login/", "/sign-in")):
        return None
    if may_sign_in(request):
        return None
    words = "Too many wrong credentials came from this address."
    return respond(429, "throttled", words, {"Retry-After": str(rest_of_minute())})


def _measured(request: HttpRequest) -> HttpResponse | None:
    """Read a chunked body and set its length; Django reads no body without a length.

    Returns an answer (411, 400) where the server cannot find the end or the body breaks off.
    """
    if not request.headers.get("Transfer-Encoding") or request.META.get("CONTENT_LENGTH"):
        return None
    whole = request
    if "wsgi.input" in request.META:
        if not request.META.get("wsgi.input_terminated"):
            return respond(411, "length_required", "Send the body with its Content-Length.")
        whole = request.META["wsgi.input"]
    limit = settings.DATA_UPLOAD_MAX_MEMORY_SIZE
    try:
        body = whole.read(limit + 1 if limit else -1)
    except Exception:  # each server raises its own exception for a bad chunk
        return respond(400, "bad_request", "The body breaks off.")
    request._stream = BytesIO(body)
    request.META["CONTENT_LENGTH"] = str(len(body))
    return None
