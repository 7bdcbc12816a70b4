"""A report made again changes nothing; one that says something else is refused (R20)."""

from __future__ import annotations

from typing import Any

from hopper.errors import AlreadyEnded


def require_same(
    name: str, state: str, *, word: str, stored: Any, reported: Any, **extra: Any
) -> None:
    """Raise AlreadyEnded where `reported` is another value than the `stored` one.

    `name` and `state` say which row ended, and how; `word` names the value; `extra` goes into the
    refusal. A report that brings no value contradicts none.
    """
    if not is_empty(reported) and not same_value(reported, stored):
        raise AlreadyEnded(f"{name} is {state} already, with another {word}.", state=state, **extra)


def is_empty(value: Any) -> bool:
    """Return whether a reported value is no value: null or the empty text."""
    return value is None or value == ""


def same_value(one: Any, other: Any) -> bool:
    """Return whether two JSON values are equal as the database stores them.

    PostgreSQL returns 1e2 as 100 and 1e23 as an integer; numbers are compared by their value.
    """
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(same_value(one[k], other[k]) for k in one)
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(same_value, one, other))
    if isinstance(one, bool) or isinstance(other, bool):
        return one is other
    if isinstance(one, float) or isinstance(other, float):
        numbers = isinstance(one, int | float) and isinstance(other, int | float)
        return numbers and float(one) == float(other)
    return bool(one == other)
