"""Reading input: JSON bodies and query strings, refused where no database could store them."""

from __future__ import annotations

import re
from collections.abc import Container, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import IO, Any

from django.conf import settings
from django.http import QueryDict
from rest_framework.exceptions import APIException, ParseError, UnsupportedMediaType
from rest_framework.parsers import JSONParser

from hopper.errors import FieldError, Invalid
from hopper.json_values import (
    MAX_ELEMENTS,
    has_too_many,
    problem_in,
    read_json,
    shown,
    text_problem,
)


class TooLarge(APIException):
    """The body is larger than the limit (413)."""

    status_code = 413
    default_code = "too_large"
    default_detail = "The body is too large."


class StrictJSONParser(JSONParser):
    """JSON within the size limit, free of NUL, lone surrogates, NaN, Infinity and huge numbers."""

    def parse(
        self,
        stream: IO[Any],
        media_type: str | None = None,
        parser_context: Mapping[str, Any] | None = None,
    ) -> Any:
        """Return the decoded body. Raises 413, 400 for malformed JSON, Invalid naming the place."""
        _require_plain(parser_context)
        limit = settings.DATA_UPLOAD_MAX_MEMORY_SIZE or 0
        raw = stream.read(limit + 1) if limit else stream.read()
        if limit and len(raw) > limit:
            # Read the rest, so that the client gets the answer instead of a broken pipe.
            _drain(stream, limit)
            raise TooLarge(f"A body may have at most {limit} bytes.")
        _require_few_elements(raw)
        try:
            data = read_json(raw)
        except ValueError as error:
            raise ParseError(f"The body is not JSON: {error}.") from None
        _require_storable(data)
        return data


def _require_plain(context: Mapping[str, Any] | None) -> None:
    """Raise UnsupportedMediaType (415) for a compressed body."""
    request = (context or {}).get("request")
    coding = request.headers.get("Content-Encoding", "identity") if request else "identity"
    if coding.strip().lower() not in ("", "identity"):
        words = f"Content-Encoding: {shown(coding)} is not taken; send the body as plain JSON."
        raise UnsupportedMediaType(coding, words)


def _drain(stream: IO[Any], limit: int) -> None:
    for _ in range(10):
        if not stream.read(limit):
            return


def _require_few_elements(raw: bytes) -> None:
    """Raise Invalid for more than MAX_ELEMENTS values and keys, before the text is parsed.

    A parsed value takes many times the memory of its text.
    """
    if has_too_many(raw):
        words = f"JSON may have at most {MAX_ELEMENTS} values and keys"
        raise Invalid(f"body: {words}", errors=[FieldError("body", "too_many", words)])


def _require_storable(data: Any) -> None:
    """Raise Invalid naming the place of a value that cannot be kept."""
    if found := problem_in(data):
        raise Invalid(f"{found.place}: {found.detail}", errors=[FieldError(*found)])


RFC_3339 = "must be a time with its offset, such as 2026-12-01T08:00:00Z, from 1970 to 2999"
_RFC_3339 = re.compile(
    r"(19[7-9]\d|2\d{3})-\d\d-\d\d[Tt ]\d\d:\d\d:\d\d(\.\d+)?([Zz]|[+-]\d\d:\d\d)", re.ASCII
)


def rfc3339(text: str) -> datetime | None:
    """Return the time in UTC, or None for a text that is not an RFC 3339 time with an offset."""
    if not _RFC_3339.fullmatch(text):
        return None
    try:
        # `fromisoformat` takes at most six digits of a fraction. The database keeps no more.
        return datetime.fromisoformat(re.sub(r"(\.\d{6})\d+", r"\1", text.upper())).astimezone(UTC)
    except (OverflowError, ValueError):
        return None


MAX_PARAMETER = 2**31 - 1
MAX_TEXT = 1000
"""The most characters of a text in a query."""

TOO_LONG = f"must have at most {MAX_TEXT} characters"

MAY_BE_EMPTY = frozenset({"search", "q"})
"""Parameters that a form sends empty. Any other empty parameter is a mistake."""

MAY_BE_LONG = frozenset({"cursor"})
"""Parameters that only the limit of the address bounds: a cursor holds the texts of a row."""


def too_long(text: str) -> bool:
    """Return whether a text in a query has more than MAX_TEXT characters."""
    return len(text) > MAX_TEXT


def require_known(query: QueryDict, known: Iterable[str], repeatable: Container[str] = ()) -> None:
    """Raise Invalid for unknown and repeated parameters, and for text that cannot be stored.

    A parameter in `repeatable` may be given several times; its values form a set.
    """
    names = sorted(set(known))
    allowed = ", ".join(names) or "none"
    errors = [
        FieldError(shown(name), "unknown", f"unknown parameter; known here: {allowed}")
        for name in query
        if name not in names
    ]
    for name, values in query.lists():
        wrong = next(filter(None, map(text_problem, values)), None)
        if len(values) > 1 and name not in repeatable:
            wrong = ("repeated", "must be given once")
        if "" in values and name not in MAY_BE_EMPTY:
            wrong = ("blank", "must not be empty: leave the parameter out")
        if name not in MAY_BE_LONG and any(map(too_long, values)):
            wrong = ("max_length", TOO_LONG)
        if wrong and name in names:
            errors.append(FieldError(name, *wrong))
    if errors:
        raise Invalid(summary(errors), code="invalid", errors=errors)


def summary(errors: Sequence[FieldError]) -> str:
    """Return the first five errors as one sentence each."""
    return "; ".join(f"{error.field}: {error.detail}" for error in errors[:5])


def integer(query: QueryDict, name: str, *, least: int, most: int, default: int) -> int:
    """Return an integer parameter. Raises Invalid unless it lies within the bounds."""
    given = query.get(name)
    if given is None:
        return default
    found = whole(given)
    if found is None or not least <= found <= most:
        raise Invalid.field(name, f"must be an integer from {least} to {most}")
    return found


def whole(text: str) -> int | None:
    """Return the number of a text of 1 to 19 ASCII digits; None for any other text.

    Python's `int` takes digits of other alphabets, and raises for a text of thousands of digits.
    """
    return int(text) if text.isascii() and text.isdigit() and len(text) <= 19 else None


def flag(query: QueryDict, name: str) -> bool:
    """Return a true or false parameter, false where it is left out. Raises Invalid."""
    given = query.get(name, "false")
    if given not in ("true", "false"):
        raise Invalid.field(name, "must be true or false")
    return given == "true"
