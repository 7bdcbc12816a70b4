"""Serializer fields with strict JSON types: no number for a text, no text for a number."""

from __future__ import annotations

import heapq
from collections.abc import Mapping
from typing import Any, TypeVar

from django.core.validators import RegexValidator
from django.db.models import Model
from rest_framework import serializers

from hopper.json_values import shown
from hopper.rest.described import extend_schema_field
from hopper.rest.input import RFC_3339, rfc3339
from hopper.words import key_of

_Row = TypeVar("_Row", bound=Model)

MAX_UNKNOWN = 20
"""The most unknown fields that a refusal names."""


class Text(serializers.CharField):
    """A JSON string, stored unchanged and untrimmed."""

    def __init__(self, **options: Any) -> None:
        options.setdefault("trim_whitespace", False)
        options.setdefault("allow_blank", not options.get("required", False))
        super().__init__(**options)

    def to_internal_value(self, data: Any) -> str:
        if not isinstance(data, str):
            self.fail("invalid")
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

    def to_internal_value(self, data: Any) -> int:
        if isinstance(data, bool) or not isinstance(data, int | float) or data != int(data):
            self.fail("invalid")
        return int(super().to_internal_value(int(data)))


class Number(serializers.FloatField):
    """A JSON number."""

    def to_internal_value(self, data: Any) -> float:
        if isinstance(data, bool) or not isinstance(data, int | float):
            self.fail("invalid")
        return float(super().to_internal_value(data))


class Flag(serializers.BooleanField):
    """JSON true or false."""

    def to_internal_value(self, data: Any) -> bool:
        if not isinstance(data, bool):
            self.fail("invalid", input=data)
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


class Words(serializers.ListField):
    """A list of short texts without repetition."""

    def __init__(self, *, most: int = 100, length: int = 200, **options: Any) -> None:
        options.setdefault("child", Line(max_length=length))
        super().__init__(max_length=most, **options)

    def to_internal_value(self, data: Any) -> list[Any]:
        return list(dict.fromkeys(super().to_internal_value(data)))


@extend_schema_field({"type": "object", "additionalProperties": {}})
class Object(serializers.JSONField):
    """A JSON object, stored unchanged."""

    default_error_messages = {"not_an_object": "This must be a JSON object."}

    def to_internal_value(self, data: Any) -> Any:
        if not isinstance(data, dict):
            self.fail("not_an_object")
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


class StrictSerializer(serializers.Serializer[Any]):
    """A request body. Unknown fields are refused; read-only fields are ignored.

    `ignored` holds further names that an answer contains and a client may send back.
    """

    ignored: frozenset[str] = frozenset()
    former: Mapping[str, str] = {}
    """Names that clients of other releases send, each with the way to go."""

    def to_internal_value(self, data: Any) -> Any:
        """Return the known fields. Raises ValidationError for any other."""
        if isinstance(data, dict):
            known = self.fields.keys() | self.ignored
            unknown = heapq.nsmallest(MAX_UNKNOWN, (name for name in data if name not in known))
            if unknown:
                writable = sorted(
                    name for name, field in self.fields.items() if not field.read_only
                )
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
