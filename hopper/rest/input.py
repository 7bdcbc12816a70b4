"""JSON in, nothing else: what no store could keep is refused where it comes in."""

from __future__ import annotations

import json
import math
from typing import IO, TYPE_CHECKING, Any

from django.conf import settings
from rest_framework.exceptions import APIException, ParseError
from rest_framework.parsers import JSONParser

from hopper.errors import FieldError, Invalid

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from django.http import QueryDict

MAX_DEPTH = 100
"""Levels of nesting in a body; the engines' own limits lie higher."""

MAX_INTEGER = 2**63 - 1


class TooLarge(APIException):
    """The body is over the limit."""

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
        limit = settings.DATA_UPLOAD_MAX_MEMORY_SIZE or 0
        raw = stream.read(limit + 1) if limit else stream.read()
        if limit and len(raw) > limit:
            # Read on, so that the client hears the answer instead of a broken pipe.
            _drain(stream, limit)
            raise TooLarge(f"A body may have at most {limit} bytes.")
        try:
            data = json.loads(raw.decode("utf-8"), parse_constant=_no_constant)
        except (ValueError, RecursionError) as error:
            raise ParseError(f"The body is not JSON: {_words(error)}.") from None
        _require_storable(data)
        return data


def _drain(stream: IO[Any], limit: int) -> None:
    for _ in range(10):
        if not stream.read(limit):
            return


def _words(error: Exception) -> str:
    if isinstance(error, RecursionError):
        return "it is nested too deeply"
    if isinstance(error, UnicodeDecodeError):
        return "it is not UTF-8"
    return str(error)


def _no_constant(word: str) -> None:
    raise ValueError(f"{word} is no JSON number")


def _require_storable(data: Any) -> None:
    """Walk the value without recursion; raise Invalid naming a place that cannot be kept."""
    stack: list[tuple[str, Any, int]] = [("", data, 1)]
    while stack:
        place, value, depth = stack.pop()
        if wrong := _problem_of(value, depth):
            code, words = wrong
            raise Invalid(
                f"{place or 'body'}: {words}", errors=[FieldError(place or "body", code, words)]
            )
        if isinstance(value, dict):
            for key, inner in value.items():
                stack.append((f"{place}.<key>".lstrip("."), key, depth))
                stack.append((f"{place}.{shown(key)}".lstrip("."), inner, depth + 1))
        elif isinstance(value, list):
            stack += [
                (f"{place}.{index}".lstrip("."), inner, depth + 1)
                for index, inner in enumerate(value)
            ]


def _problem_of(value: Any, depth: int) -> tuple[str, str] | None:
    if depth > MAX_DEPTH:
        return "too_deep", f"JSON may be nested at most {MAX_DEPTH} levels deep"
    if isinstance(value, str):
        return text_problem(value)
    if isinstance(value, float) and not math.isfinite(value):
        return "number_out_of_range", "the number is too large"
    if isinstance(value, int) and abs(value) > MAX_INTEGER:
        return "number_out_of_range", f"integers go from {-MAX_INTEGER} to {MAX_INTEGER}"
    return None


def text_problem(text: str) -> tuple[str, str] | None:
    """Return (code, words) where a text cannot be stored, else None."""
    if "\0" in text:
        return "null_character", "text cannot contain the NUL character"
    if any("\ud800" <= character <= "\udfff" for character in text):
        return "not_unicode", "text cannot contain half of a surrogate pair"
    return None


def shown(text: str) -> str:
    """Return a name from outside, fit to be repeated in an answer."""
    safe = text.replace("\0", "\ufffd").encode("utf-8", "replace").decode()
    return safe if len(safe) <= 80 else safe[:80] + "…"


MAX_PARAMETER = 2**31 - 1

MAY_BE_EMPTY = frozenset({"search", "q"})
"""What a form sends though nothing was typed; anything else that is empty is a mistake."""


def require_known(query: QueryDict, known: Iterable[str]) -> None:
    """Raise Invalid for parameters that are not `known`, and for text that nobody can store."""
    names = sorted(set(known))
    allowed = ", ".join(names) or "none"
    errors = [
        FieldError(shown(name), "unknown", f"unknown parameter; known here: {allowed}")
        for name in query
        if name not in names
    ]
    for name, values in query.lists():
        wrong = next(filter(None, map(text_problem, values)), None)
        if "" in values and name not in MAY_BE_EMPTY:
            wrong = ("blank", "must not be empty: leave the parameter out")
        if wrong and name in names:
            errors.append(FieldError(name, *wrong))
    if errors:
        words = "; ".join(f"{error.field}: {error.detail}" for error in errors)
        raise Invalid(words, code="invalid", errors=errors)


def integer(query: QueryDict, name: str, *, least: int, most: int, default: int) -> int:
    """Return an integer parameter. Raises Invalid unless it lies within the bounds."""
    given = query.get(name)
    if given is None:
        return default
    if given.isascii() and given.isdigit() and len(given) <= 19 and least <= int(given) <= most:
        return int(given)
    raise Invalid.field(name, f"must be an integer from {least} to {most}")


def flag(query: QueryDict, name: str) -> bool:
    """Return a true or false parameter, false where it is left out. Raises Invalid."""
    given = query.get(name, "false")
    if given not in ("true", "false"):
        raise Invalid.field(name, "must be true or false")
    return given == "true"
