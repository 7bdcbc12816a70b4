"""Strict filters: a wrong value in a query string is refused."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django import forms
from django.db.models import Q
from django_filters import rest_framework as filters
from django_filters.fields import ChoiceField, IsoDateTimeField

from hopper.rest.described import extend_schema_field
from hopper.rest.input import MAX_TEXT, RFC_3339, rfc3339


def keeping(keep: Callable[[Any, Any], Any]) -> Callable[[Any, str, Any], Any]:
    """Return the method of a filter that narrows the rows by `keep(rows, value)`."""
    return lambda rows, name, value: keep(rows, value)


def matching(condition: Callable[[Any], Q]) -> Callable[[Any, str, Any], Any]:
    """Return the method of a filter that keeps the rows with `condition(value)`."""
    return lambda rows, name, value: rows.filter(condition(value))


class _TrueOrFalse(forms.Field):
    widget = forms.TextInput

    def clean(self, value: Any) -> bool | None:
        if value in (None, ""):
            return None
        if value not in ("true", "false"):
            raise forms.ValidationError("must be true or false", code="invalid")
        return bool(value == "true")


class BooleanParameter(filters.BooleanFilter):
    """`true` or `false`. Any other word is refused."""

    field_class = _TrueOrFalse

    def __init__(self, *args: Any, **options: Any) -> None:
        # The widget of the library turns an unknown word into null.
        super().__init__(*args, **{"widget": forms.TextInput, **options})


class _Time(IsoDateTimeField):
    def clean(self, value: Any) -> Any:
        found = rfc3339(value) if value else None
        if value and found is None:
            raise forms.ValidationError(RFC_3339, code="invalid")
        return found


class TimeParameter(filters.IsoDateTimeFilter):
    """An RFC 3339 time."""

    field_class = _Time


class ChoiceParameter(filters.ChoiceFilter):
    """One of a few words. The refusal of another word names the allowed ones."""

    def __init__(self, *args: Any, choices: list[tuple[str, Any]], **options: Any) -> None:
        allowed = ", ".join(word for word, _ in choices)
        messages = {"invalid_choice": f"%(value)s is not a valid choice; allowed: {allowed}."}
        super().__init__(*args, choices=choices, error_messages=messages, **options)


class _InUpperCase(ChoiceField):
    def to_python(self, value: Any) -> Any:
        return super().to_python(value).strip().upper()


class ScopeParameter(ChoiceParameter):
    """A scope, in any case."""

    field_class = _InUpperCase


class _ManyWidget(forms.MultipleHiddenInput):
    def value_from_datadict(self, data: Any, files: Any, name: str) -> list[str] | None:
        found: list[str] | None = data.getlist(name) if hasattr(data, "getlist") else data.get(name)
        return found


class _Many(forms.Field):
    widget = _ManyWidget

    def clean(self, value: Any) -> list[str]:
        words = [str(word) for word in value or [] if word != ""]
        if len(words) > 100:
            raise forms.ValidationError("at most 100 of them", code="too_many")
        return words


@extend_schema_field(
    {
        "type": "array",
        "items": {"type": "string", "minLength": 1, "maxLength": MAX_TEXT},
        "maxItems": 100,
    }
)
class WordsParameter(filters.Filter):
    """A parameter that may be repeated: `tags=a&tags=b`."""

    field_class = _Many

    def filter(self, qs: Any, value: list[str]) -> Any:
        """Return the rows that match. Without a value all rows match."""
        return super().filter(qs, value) if value else qs
