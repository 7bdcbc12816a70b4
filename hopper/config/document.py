"""The data of a configuration file with the place of every key, and the faults of the file."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from django.core.exceptions import ImproperlyConfigured

SHIPPED = "shipped"
"""The source of a value that no operator has set."""

KeyPath = tuple[str | int, ...]


@dataclass(frozen=True)
class Problem:
    """One fault of a file: its line, its key, and a message with the allowed values."""

    file: str
    line: int
    key: str
    message: str

    def __str__(self) -> str:
        where = f"{self.file}:{self.line}"
        return f"{where}: {self.key}: {self.message}" if self.key else f"{where}: {self.message}"


class BrokenConfig(ImproperlyConfigured):
    """A configuration file is not usable. `problems` names file, line and key of each fault."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(map(str, self.problems)))


@dataclass(frozen=True)
class Place:
    """The place of a value. `source` is "shipped" or the operator's file."""

    source: str
    file: str
    line: int


@dataclass
class Document:
    """Plain data with the place of every key."""

    data: Any = field(default_factory=dict)
    places: dict[KeyPath, Place] = field(default_factory=dict)

    def over(self, other: Document) -> Document:
        """Return `other` with this document on top: mappings merge, other values are replaced."""
        merged = Document(dict(other.data), {**other.places, (): self.places[()]})
        _merge_into(merged, self, (), merged.data, self.data)
        return merged

    def problem(self, path: Sequence[str | int], message: str) -> Problem:
        """Return the fault at `path`, at the line of the nearest key that was written."""
        path = tuple(path)
        written = next(
            (path[:end] for end in range(len(path), -1, -1) if path[:end] in self.places), ()
        )
        place = self.places.get(written, Place("", "configuration", 0))
        return Problem(place.file, place.line, ".".join(map(str, path)), message)


def _merge_into(merged: Document, upper: Document, path: KeyPath, into: Any, data: Any) -> None:
    for key, value in data.items():
        here = (*path, key)
        merged.places[here] = upper.places[here]
        if isinstance(value, dict) and isinstance(into.get(key), dict):
            into[key] = dict(into[key])
            _merge_into(merged, upper, here, into[key], value)
            continue
        into[key] = value
        depth = len(here)
        for old in [known for known in merged.places if known[:depth] == here and known != here]:
            del merged.places[old]
        merged.places |= {p: q for p, q in upper.places.items() if p[:depth] == here}
