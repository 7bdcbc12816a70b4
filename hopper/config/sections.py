"""The sections of configuration files as pydantic models; every fault names its line and key.

Pydantic takes long to load. So only modules that define or read settings import this one.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from pydantic_core import PydanticCustomError

from hopper.config.document import BrokenConfig, Document, KeyPath

Words = Annotated[tuple[str, ...], Field(strict=False)]
"""A list of strings."""

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
