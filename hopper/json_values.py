"""The limits of stored JSON values, for the server and its clients. Does not import Django."""

from __future__ import annotations

import json
import math
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from hopper.masks import masked

MAX_DEPTH = 100
"""The most levels of nesting in a body. The limits of the databases are higher."""

MAX_ELEMENTS = 200_000
"""The most values and keys in a body, all levels together."""

MAX_INTEGER = 2**63 - 1

_INTEGERS = f"integers go from {-MAX_INTEGER} to {MAX_INTEGER}"
_SURROGATE = re.compile("[\ud800-\udfff]")
# Possessive quantifiers: a long text takes no memory for backtracking.
_STRING = re.compile(rb'"(?:[^"\\]++|\\.)*+"')


class JsonProblem(NamedTuple):
    """Why a JSON value cannot be stored: the place in the value, a code, and the words."""

    place: str
    code: str
    detail: str


def read_json(raw: bytes) -> Any:
    """Return the value of a JSON text in UTF-8, in which no object has a key twice.

    Raises ValueError, whose words say why the text is no such JSON.
    """
    try:
        text = raw.decode("utf-8")
        return json.loads(text, parse_constant=_no_constant, object_pairs_hook=_object)
    except UnicodeDecodeError:
        raise ValueError("it is not UTF-8") from None
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    except ValueError as error:
        if text.startswith("\ufeff"):
            raise ValueError("it begins with a byte order mark: leave it out") from None
        if "set_int_max_str_digits" in str(error):  # the words of Python for its own limit
            raise ValueError(f"{_INTEGERS}, and one has thousands of digits") from None
        raise


def _no_constant(word: str) -> None:
    raise ValueError(f"{word} is not a JSON number")


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        twice = Counter(key for key, _ in pairs).most_common(1)[0][0]
        raise ValueError(f"the key {shown(twice)!r} is given twice in one object")
    return found


def has_too_many(raw: bytes, most: int = MAX_ELEMENTS) -> bool:
    """Return whether the text of a JSON value has more than so many values and keys."""
    return _elements(raw) > most and _elements(_STRING.sub(b"", raw)) > most


def _elements(raw: bytes) -> int:
    return sum(raw.count(mark) for mark in (b",", b":", b"[", b"{"))


def problem_in(data: Any, *, depth: int = MAX_DEPTH) -> JsonProblem | None:
    """Return the problem of a value that cannot be stored, or None.

    The value is walked in its order, without recursion. The memory that this takes grows with the
    depth alone: names are made only for a problem.
    """
    path: list[str | int] = []
    problem = _problem_at(data, path, depth)
    levels = [_inner(data)]
    while levels and problem is None:
        found = next(levels[-1], None)
        if found is None:
            levels.pop()
            if path:
                path.pop()
            continue
        key, value = found
        if isinstance(key, str):
            problem = _problem_at(key, [*path, "<key>"], depth)
        path.append(key)
        problem = problem or _problem_at(value, path, depth)
        levels.append(_inner(value))
    return problem


def _inner(value: Any) -> Iterator[tuple[str | int, Any]]:
    if isinstance(value, dict):
        return iter(value.items())
    return iter(enumerate(value)) if isinstance(value, list) else iter(())


def _problem_at(value: Any, path: Sequence[str | int], depth: int) -> JsonProblem | None:
    wrong = _problem_of(value, len(path) + 1, depth)
    return wrong and JsonProblem(".".join(shown(str(part)) for part in path) or "body", *wrong)


def _problem_of(value: Any, level: int, depth: int) -> tuple[str, str] | None:
    if level > depth:
        return "too_deep", f"JSON may be nested at most {depth} levels deep"
    if isinstance(value, str):
        return text_problem(value)
    if isinstance(value, float) and not math.isfinite(value):
        return "number_out_of_range", "the number is too large"
    if isinstance(value, int) and abs(value) > MAX_INTEGER:
        return "number_out_of_range", _INTEGERS
    return None


def text_problem(text: str) -> tuple[str, str] | None:
    """Return (code, message) for a text that cannot be stored, else None."""
    if "\0" in text:
        return "null_character", "text cannot contain the NUL character"
    if _SURROGATE.search(text):
        return "not_unicode", "text cannot contain half of a surrogate pair"
    return None


def shown(text: str) -> str:
    """Return a name from a request, made safe for an answer: short, and without secrets."""
    safe = masked(text).replace("\0", "\ufffd").encode("utf-8", "replace").decode()
    return safe if len(safe) <= 80 else safe[:80] + "…"
