"""The query string, taken at its word: an unknown parameter is refused, naming the known ones."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hopper.errors import FieldError, Invalid
from hopper.rest.parsers import shown, text_problem

if TYPE_CHECKING:
    from collections.abc import Iterable

    from django.http import QueryDict

MAX_INTEGER = 2**31 - 1

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
