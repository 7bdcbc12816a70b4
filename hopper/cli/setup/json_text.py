"""Adding to a JSON file as a person would: every other character stays as it was."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from typing import Any

_SPACE = re.compile(r"[ \t\r\n]*")
_DECODER = json.JSONDecoder()


def with_added(text: str, path: Sequence[str], value: Any, *, in_list: bool = False) -> str:
    """Return the text of a JSON object with `value` at `path`; missing objects are added.

    `in_list`: the value is added at the end of the list at `path`. A value that is there already
    changes nothing. Raises ValueError for a text that is no JSON object, or if another value
    stands in the way.
    """
    text = text if text.strip() else "{}\n"
    place, depth = _after_space(text, 0), 1
    if text[place : place + 1] != "{" or not isinstance(json.loads(text), dict):
        raise ValueError("it is not a JSON object")
    names = list(path)
    while names:
        found = {key: start for key, start, _ in _members(text, place)}.get(names[0])
        if found is None:
            rest: Any = [value] if in_list else value
            for name in reversed(names[1:]):
                rest = {name: rest}
            return _inserted(text, place, depth, rest, key=names[0])
        names.pop(0)
        if names and text[found] != "{":
            raise ValueError(f"{'.'.join(path)} stands in a value that is no object")
        place, depth = found, depth + 1
    present, _ = _DECODER.raw_decode(text, place)
    if not in_list:
        if present == value:
            return text
        raise ValueError(f"{'.'.join(path)} is set already, to another value")
    if not isinstance(present, list):
        raise ValueError(f"{'.'.join(path)} is no list")
    return text if value in present else _inserted(text, place, depth, value)


def without(text: str, path: Sequence[str], value: Any, *, in_list: bool = False) -> str:
    """Return the text without a value that was added; objects and lists left empty go as well."""
    data = json.loads(text)
    parents, here = [], data
    for name in path[:-1]:
        if not isinstance(here, dict) or name not in here:
            return text
        parents.append((here, name))
        here = here[name]
    last = path[-1]
    if not isinstance(here, dict) or last not in here:
        return text
    if in_list and isinstance(here[last], list):
        here[last] = [one for one in here[last] if one != value]
    elif here[last] == value:
        here[last] = None
    if not here[last]:
        del here[last]
    for parent, name in reversed(parents):
        if not parent[name]:
            del parent[name]
    return json.dumps(data, indent=_indent(text), ensure_ascii=False) + "\n"


def _members(text: str, start: int) -> Iterator[tuple[str, int, int]]:
    """Yield key, start and end of each value of the object or list that begins at `start`."""
    is_object = text[start] == "{"
    at = _after_space(text, start + 1)
    while text[at] not in "}]":
        key = ""
        if is_object:
            key, at = _DECODER.raw_decode(text, at)
            at = _after_space(text, _after_space(text, at) + 1)  # over the colon
        _, end = _DECODER.raw_decode(text, at)
        yield key, at, end
        at = _after_space(text, end)
        if text[at] == ",":
            at = _after_space(text, at + 1)


def _inserted(text: str, start: int, depth: int, value: Any, *, key: str | None = None) -> str:
    """Return the text with one more member at the end of the object or list at `start`."""
    indent = _indent(text)
    ends = [end for _, _, end in _members(text, start)]
    name = "" if key is None else f"{json.dumps(key)}: "
    last = ends[-1] if ends else start + 1
    close = _after_space(text, last)
    if ends and "\n" not in text[start:close]:
        return f"{text[:last]}, {name}{json.dumps(value, ensure_ascii=False)}{text[last:]}"
    pad = indent * depth
    written = json.dumps(value, indent=indent, ensure_ascii=False).replace("\n", f"\n{pad}")
    if ends:
        return f"{text[:last]},\n{pad}{name}{written}{text[last:]}"
    return f"{text[:last]}\n{pad}{name}{written}\n{indent * (depth - 1)}{text[close:]}"


def _indent(text: str) -> str:
    found = re.search(r'\n([ \t]+)"', text)
    return found[1] if found else "  "


def _after_space(text: str, at: int) -> int:
    found = _SPACE.match(text, at)
    return found.end() if found else at
