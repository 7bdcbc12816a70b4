"""Turns plain data into a pydantic model; every fault names its file, line and key."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any, TypeVar

from django.core.exceptions import ImproperlyConfigured
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from pydantic_core import PydanticCustomError

SHIPPED = "shipped"
"""The source of a value that no operator has set."""

Words = Annotated[tuple[str, ...], Field(strict=False)]
"""A list of strings."""

KeyPath = tuple[str | int, ...]


AT_KEY = "at_key"
"""The error type for a fault at one key of a mapping."""


def fault_at(key: str, words: str) -> PydanticCustomError:
    """Return a fault at one key of a mapping, for the validator of the mapping to raise."""
    return PydanticCustomError(AT_KEY, "{words}", {"words": words, "key": key})


def require_known(given: Iterable[Any], known: Sequence[str], what: str) -> None:
    """Raise a fault at the first of the `given` keys that is not among the `known`."""
    for key in given:
        if key not in known:
            raise fault_at(str(key), f"unknown {what}; allowed: {', '.join(known)}")


class Section(BaseModel):
    """A part of a configuration file. Wrong types and unknown keys are errors."""

    model_config = ConfigDict(strict=True, frozen=True, extra="forbid", defer_build=True)

    @model_validator(mode="before")
    @classmethod
    def _known_keys_only(cls, value: Any) -> Any:
        if not isinstance(value, Mapping):
            return value
        known = sorted(info.alias or name for name, info in cls.model_fields.items())
        require_known(value, known, "key")
        return value


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


Model = TypeVar("Model", bound=BaseModel)


def build(model: type[Model], document: Document) -> Model:
    """Return the document as `model`. Raises BrokenConfig with every fault, each with its line."""
    try:
        return model.model_validate(document.data)
    except ValidationError as error:
        raise BrokenConfig(
            document.problem(_path_in(document, one), message_of(one))
            for one in error.errors(include_url=False)
        ) from None


def message_of(error: Mapping[str, Any]) -> str:
    """Return the fault in words, with the value if it is a plain one."""
    message = str(error["msg"]).removeprefix("Value error, ")
    if error["type"] == "tuple_type":
        # "tuple" is a word of Python. YAML and JSON have lists.
        message = message.replace("tuple", "list")
    value = error.get("input")
    plain = isinstance(value, str | int | float | bool) and error["type"] != AT_KEY
    return f"{message}, not {value!r}" if plain else message


def _path_in(document: Document, error: Mapping[str, Any]) -> KeyPath:
    """Return the error's path in the file. Pydantic adds the tag of a union to its own path."""
    path: KeyPath = ()
    loc = list(error["loc"])
    if error["type"] == AT_KEY:
        loc.append(error["ctx"]["key"])
    value: Any = document.data
    for index, part in enumerate(loc):
        last = index == len(loc) - 1
        if isinstance(value, dict) and value.get("type") == part and not last:
            continue
        if (*path, part) in document.places or last:
            path = (*path, part)
            value = _inside(value, part)
    return path


def _inside(value: Any, part: str | int) -> Any:
    try:
        return value[part]
    except (KeyError, IndexError, TypeError):
        return None
