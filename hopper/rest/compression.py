"""Compresses answers of the REST interface that are longer than 1 KB."""

from __future__ import annotations

import gzip
import re

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.utils.cache import patch_vary_headers

LEAST_BYTES = 1024
LEVEL = 5
_GZIP = re.compile(r"(?:^|,)\s*(?:gzip|\*)\s*(?:$|,|;\s*q=(?!0(?:\.0*)?\s*(?:$|,)))", re.IGNORECASE)


def compress(request: HttpRequest, response: HttpResponse) -> None:
    """Compress an answer by gzip for a caller that takes it. The ETag stays: it names the content.

    An answer to a browser's session is not compressed: another site could make the browser ask,
    and guess secrets from the length (BREACH).
    """
    if len(response.content) <= LEAST_BYTES or response.has_header("Content-Encoding"):
        return
    patch_vary_headers(response, ("Accept-Encoding",))
    has_session = settings.SESSION_COOKIE_NAME in request.COOKIES
    if not has_session and _GZIP.search(request.headers.get("Accept-Encoding", "")):
        response.content = gzip.compress(response.content, LEVEL, mtime=0)
        response.headers["Content-Encoding"] = "gzip"
        response.headers["Content-Length"] = str(len(response.content))
