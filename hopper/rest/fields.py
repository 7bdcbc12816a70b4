"""Serializer fields with strict JSON types: no number for a text, no text for a number."""

from __future__ import annotations

import heapq
from collections.abc import Mapping
from typing import Any, TypeVar, cast

from django.core.validators import RegexValidator
from django.db.models import Model
from rest_framework import serializers
from rest_framework.settings import api_settings

from hopper.json_values import shown
from hopper.rest.described import extend_schema_field
from hopper.rest.input import RFC_3339, rfc3339
from hopper.words import key_of

_Row = TypeVar("_Row", bound=Model)

MAX_UNKNOWN = 20
"""The most unknown fields that a refusal names."""


def kind_of(data: Any) -> str:
    """Return the JSON type of a decoded value in words, for the refusal of a wrong type."""
    if data is None or isinstance(data, bool):
        return {None: "null", True: "true", False: "false"}[data]
    return next(words for kind, words in _KINDS.items() if isinstance(data, kind))


_KINDS = {
    dict: "an object",
    list: "a list",
    str: "a text",
    int: "a whole number",
    float: "a decimal number",
}


class Text(serializers.CharField):
    """A JSON string, stored unchanged and untrimmed."""

    default_error_messages = {"invalid": "must be a text, not {sent}"}

    def __init__(self, **options: Any) -> None:
        options.setdefault("trim_whitespace", False)
        options.setdefault("allow_blank", not options.get("required", False))
        super().__init__(**options)

    def to_internal_value(self, data: Any) -> str:
        if not isinstance(data, str):
            self.fail("invalid", sent=kind_of(data))
        return str(super().to_internal_value(data))


class Line(Text):
    """A JSON string with at least one visible character."""

    def __init__(self, **options: Any) -> None:
        options.setdefault("allow_blank", False)
        validators = [RegexValidator(r"\S", "This field may not be blank.", "blank")]
        super().__init__(**options)
        self.validators.extend(validators)

    def to_internal_value(self, data: Any) -> str:
        text = super().to_internal_value(data)
        if text and not key_of(text):
            self.fail("blank")
        return text


class Whole(serializers.IntegerField):
    """A JSON integer. 3.0 is accepted; "3" and true are refused."""

    default_error_messages = {"invalid": "must be a whole number, not {sent}"}

    def to_internal_value(self, data: Any) -> int:
        if isinstance(data, bool) or not isinstance(data, int | float) or data != int(data):
            self.fail("invalid", sent=kind_of(data))
        return int(super().to_internal_value(int(data)))


class Number(serializers.FloatField):
    """A JSON number."""

    default_error_messages = {"invalid": "must be a number, not {sent}"}

    def to_internal_value(self, data: Any) -> float:
        if isinstance(data, bool) or not isinstance(data, int | float):
            self.fail("invalid", sent=kind_of(data))
        return float(super().to_internal_value(data))


class Flag(serializers.BooleanField):
    """JSON true or false."""

    default_error_messages = {"invalid": "must be true or false, not {sent}"}

    def to_internal_value(self, data: Any) -> bool:
        if not isinstance(data, bool):
            self.fail("invalid", sent=kind_of(data))
        return data


class Word(serializers.ChoiceField):
    """One of a few words. The refusal of another word names the allowed ones."""

    default_error_messages = {
        "invalid_choice": '"{input}" is not a valid choice; allowed: {allowed}.'
    }

    def to_internal_value(self, data: Any) -> str:
        if not isinstance(data, str) or data not in self.choices:
            self.fail(
                "invalid_choice", input=shown(str(data)), allowed=", ".join(map(str, self.choices))
            )
        return data


class Time(serializers.DateTimeField):
    """An RFC 3339 time with its offset, from 1970 to 2999."""

    default_error_messages = {"invalid": RFC_3339}

    def to_internal_value(self, value: Any) -> Any:
        found = rfc3339(value) if isinstance(value, str) else None
        if found is None:
            self.fail("invalid")
        return super().to_internal_value(found)


class List(serializers.ListField):
    """A JSON list."""

    default_error_messages = {"not_a_list": "must be a list, not {sent}"}

    def to_internal_value(self, data: Any) -> list[Any]:
        if not isinstance(data, list):
            self.fail("not_a_list", sent=kind_of(data))
        found: list[Any] = super().to_internal_value(data)
        return found


class Words(List):
    """A list of short texts without repetition."""

    def __init__(self, *, most: int = 100, length: int = 200, **options: Any) -> None:
        options.setdefault("child", Line(max_length=length))
        super().__init__(max_length=most, **options)

    def to_internal_value(self, data: Any) -> list[Any]:
        return list(dict.fromkeys(super().to_internal_value(data)))


@extend_schema_field({"type": "object", "additionalProperties": {}})
class Object(serializers.JSONField):
    """A JSON object, stored unchanged."""

    default_error_messages = {"not_an_object": "must be an object, not {sent}"}

    def to_internal_value(self, data: Any) -> Any:
        if not isinstance(data, dict):
            self.fail("not_an_object", sent=kind_of(data))
        return super().to_internal_value(data)


@extend_schema_field({"nullable": True, "description": "Any JSON value."})
class Anything(serializers.JSONField):
    """Any JSON value, stored unchanged."""

    def __init__(self, **options: Any) -> None:
        options.setdefault("allow_null", True)
        super().__init__(**options)


class ShownSerializer(serializers.ModelSerializer[_Row]):
    """A row as an answer shows it: all fields are read-only."""

    def get_extra_kwargs(self) -> dict[str, Any]:
        """Make each column read-only."""
        return {name: {"read_only": True} for name in self.Meta.fields}


class StrictList(serializers.ListSerializer[Any]):
    """A request body that is a list, or a list of objects in a body."""

    def to_internal_value(self, data: Any) -> Any:
        """Return the elements. Raises ValidationError."""
        if not isinstance(data, list):
            raise _wrong_type("a list", data, "not_a_list")
        try:
            return super().to_internal_value(data)
        except serializers.ValidationError as error:
            # The library that names the fields takes the key 0 for no key.
            found = cast("dict[Any, Any]", error.detail)
            raise serializers.ValidationError({str(key): found[key] for key in found}) from None


def _wrong_type(allowed: str, data: Any, code: str) -> serializers.ValidationError:
    words = f"must be {allowed}, not {kind_of(data)}"
    return serializers.ValidationError({api_settings.NON_FIELD_ERRORS_KEY: [words]}, code)


class StrictSerializer(serializers.Serializer[Any]):
    """A request body. Unknown fields are refused; read-only fields are ignored.

    `ignored` holds further names that an answer contains and a client may send back.
    """

    ignored: frozenset[str] = frozenset()
    former: Mapping[str, str] = {}
    """Names that clients of other releases send, each with the way to go."""

    def to_internal_value(self, data: Any) -> Any:
        """Return the known fields. Raises ValidationError for an unknown field or no object."""
        if not isinstance(data, dict):
            raise _wrong_type("an object", data, "invalid")
        known = self.fields.keys() | self.ignored
        unknown = heapq.nsmallest(MAX_UNKNOWN, (name for name in data if name not in known))
        if unknown:
            writable = sorted(name for name, field in self.fields.items() if not field.read_only)
            words = f"unknown field; known here: {', '.join(writable) or 'none'}"
            messages = {name: self.former.get(name, words) for name in unknown}
            raise serializers.ValidationError(
                {
                    shown(name): serializers.ErrorDetail(messages[name], "unknown")
                    for name in messages
                }
            )
        return super().to_internal_value(data)


class NoFields(StrictSerializer):
    """A body without fields. The body may be left out."""
