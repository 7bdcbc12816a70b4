"""Serializer fields that take JSON types at their word: no number is a text, no text a number."""

from __future__ import annotations

import heapq
from typing import Any

from django.core.validators import RegexValidator
from rest_framework import serializers

from hopper.json_values import shown
from hopper.rest.described import extend_schema_field
from hopper.rest.input import RFC_3339, rfc3339

MAX_UNKNOWN = 20
"""How many unknown fields a refusal names."""


class Text(serializers.CharField):
    """A JSON string, kept as it is: nothing is trimmed."""

    def __init__(self, **options: Any) -> None:
        options.setdefault("trim_whitespace", False)
        options.setdefault("allow_blank", not options.get("required", False))
        super().__init__(**options)

    def to_internal_value(self, data: Any) -> str:
        if not isinstance(data, str):
            self.fail("invalid")
        return str(super().to_internal_value(data))


class Line(Text):
    """A text that says something: at least one character that is not a blank."""

    def __init__(self, **options: Any) -> None:
        options.setdefault("allow_blank", False)
        validators = [RegexValidator(r"\S", "This field may not be blank.", "blank")]
        super().__init__(**options)
        self.validators.extend(validators)


class Whole(serializers.IntegerField):
    """A JSON integer; 3.0 is one, "3" and true are not."""

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
    """One of a few words; a wrong one is answered with those there are."""

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
    """An RFC 3339 time with its offset, of the years 1970 to 2999."""

    default_error_messages = {"invalid": RFC_3339}

    def to_internal_value(self, value: Any) -> Any:
        found = rfc3339(value) if isinstance(value, str) else None
        if found is None:
            self.fail("invalid")
        return super().to_internal_value(found)


class Words(serializers.ListField):
    """A list of short texts, each said once."""

    def __init__(self, *, most: int = 100, length: int = 200, **options: Any) -> None:
        options.setdefault("child", Line(max_length=length))
        super().__init__(max_length=most, **options)

    def to_internal_value(self, data: Any) -> list[Any]:
        return list(dict.fromkeys(super().to_internal_value(data)))


@extend_schema_field({"type": "object", "additionalProperties": {}})
class Object(serializers.JSONField):
    """A JSON object, kept as it is."""

    default_error_messages = {"not_an_object": "This must be a JSON object."}

    def to_internal_value(self, data: Any) -> Any:
        if not isinstance(data, dict):
            self.fail("not_an_object")
        return super().to_internal_value(data)


@extend_schema_field({"nullable": True, "description": "Any JSON value."})
class Anything(serializers.JSONField):
    """Any JSON value, kept as it is."""

    def __init__(self, **options: Any) -> None:
        options.setdefault("allow_null", True)
        super().__init__(**options)


class StrictSerializer(serializers.Serializer[Any]):
    """A body: an unknown field is refused, naming the known ones; read-only ones are ignored.

    `ignored` are further names that may come back from a reading.
    """

    ignored: frozenset[str] = frozenset()

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
                raise serializers.ValidationError(
                    {shown(name): serializers.ErrorDetail(words, "unknown") for name in unknown}
                )
        return super().to_internal_value(data)


class NoFields(StrictSerializer):
    """A body without fields; it may be left out."""
