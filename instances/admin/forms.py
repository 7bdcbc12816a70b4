"""Forms that write through a service, and their fields."""

from __future__ import annotations

import json
from collections.abc import Collection
from datetime import datetime
from typing import TYPE_CHECKING, Any

from django import forms
from django.db.models import Model
from django.http import HttpRequest

from hopper.actors import Actor
from hopper.conditions import on_condition
from hopper.config.registry import config_errors
from hopper.errors import HopperError
from hopper.words import key_of
from instances.admin.base import GuardedAdmin, actor_of

if TYPE_CHECKING:
    _ModelForm = forms.ModelForm[Any]
else:
    _ModelForm = forms.ModelForm


class ServiceForm(_ModelForm):
    """Calls a service during validation, so that a refusal appears at its field.

    The admin validates and saves in one transaction, and services open their own savepoints. So an
    invalid form writes nothing.

    The page carries the values that it showed. Only the fields that the person edited are written.
    An edited field with another value meanwhile is shown with both values, and nothing is written.
    """

    actor: Actor
    names: dict[str, str] = {}
    """The services' name of a field, where the form has another name."""

    def write(self, values: dict[str, Any]) -> Model:
        """Call the service and return the fresh record. Raises HopperError for a refusal."""
        raise NotImplementedError

    def _post_clean(self) -> None:
        # Django would set attributes on the record and check constraints here. The service does
        # both.
        if self.errors:
            return
        wanted = self.cleaned_data if self.instance._state.adding else self.edited()
        values = {self.names.get(name, name): _lines(self.cleaned_data[name]) for name in wanted}
        model, pk = type(self.instance), self.instance.pk
        try:
            with on_condition(model, pk, lambda: self._require_shown(wanted)):
                self.instance = self.write(values)
        except _Overtaken as overtaken:
            self._show_both(overtaken.present)
        except HopperError as refusal:
            self._show(refusal)

    def edited(self) -> list[str]:
        """Return the fields with another value than the page showed."""
        return [name for name in self.fields if self._differs(name, self._shown(name))]

    def _differs(self, name: str, value: Any) -> bool:
        """Return whether the person sent another value than this one, given as a page sends it."""
        return _differ(self.fields[name], value, self[name].data)

    def _shown(self, name: str) -> Any:
        """Return the value that the page showed; without it, the present one."""
        bound = self[name]
        widget = bound.field.hidden_widget()
        if widget.value_omitted_from_data(self.data, self.files, bound.html_initial_name):
            return _as_sent(bound.field, bound.initial)
        return widget.value_from_datadict(self.data, self.files, bound.html_initial_name)

    def _require_shown(self, names: Collection[str]) -> None:
        """Raise _Overtaken if an edited field of the locked row has changed since it was shown."""
        row = type(self.instance)._default_manager.get(pk=self.instance.pk)
        present = {
            name: _as_sent(self.fields[name], value)
            for name, value in forms.model_to_dict(row, names).items()
        }
        overtaken = {
            name: value
            for name, value in present.items()
            if _differ(self.fields[name], self._shown(name), value) and self._differs(name, value)
        }
        if overtaken:
            raise _Overtaken(overtaken)

    def _show_both(self, present: dict[str, Any]) -> None:
        """Show the present values beside those of the person, which a second save writes."""
        shown: dict[str, str] = {}
        for name, value in present.items():
            words = f"Somebody changed this meanwhile, to: {value}. Save again to write your value."
            self.add_error(name, words)
            field = self[name].html_initial_name
            several = enumerate(value) if isinstance(value, list) else ()
            parts = {f"{field}_{number}": part for number, part in several} or {field: value}
            shown |= {key: "" if part is None else str(part) for key, part in parts.items()}
        # The stubs know the data of a form as any mapping; a sent form has a QueryDict.
        self.data = {**self.data.dict(), **shown}  # type: ignore[attr-defined]

    def _show(self, refusal: HopperError) -> None:
        fields = {service: field for field, service in self.names.items()}
        for error in refusal.errors:
            name = error.field.split(".")[0]
            field = fields.get(name, name)
            self.add_error(field if field in self.fields else None, error.detail)
        if not refusal.errors:
            self.add_error(None, refusal.detail)


class _Overtaken(Exception):
    """Fields were changed since the page showed them; `present` are their values now."""

    def __init__(self, present: dict[str, Any]) -> None:
        super().__init__(present)
        self.present = present


def _as_sent(field: forms.Field, value: Any) -> Any:
    """Return a value of a row as a page sends it. The times of a page have no fractions."""
    if isinstance(value, datetime):
        value = value.replace(microsecond=0)
    value = field.prepare_value(value)
    return field.widget.decompress(value) if isinstance(field.widget, forms.MultiWidget) else value


def _differ(field: forms.Field, one: Any, other: Any) -> bool:
    """Return whether two values, as a page sends them, are two values of the field."""
    return field.has_changed(field.to_python(_lines(one)), _lines(other))


def _lines(value: Any) -> Any:
    """Return a text with the line ends of the brief; a page sends others."""
    return value.replace("\r\n", "\n") if isinstance(value, str) else value


class ServedAdmin(GuardedAdmin):
    """A page whose form writes through a service."""

    def get_form(
        self, request: HttpRequest, obj: Any = None, change: bool = False, **kwargs: Any
    ) -> Any:
        """Return the form class, bound to the caller."""
        form = super().get_form(request, obj, change, **kwargs)
        # The stubs know the class as any ModelForm; `form` above is a ServiceForm.
        form.actor = actor_of(request)  # type: ignore[attr-defined]
        for field in form.base_fields.values():
            field.show_hidden_initial = change
        return form

    def save_model(self, request: HttpRequest, obj: Any, form: Any, change: bool) -> None:
        """Do nothing: the service wrote while the form was validated."""


class JsonField(forms.JSONField):
    """A JSON value of one type. NUL characters are refused: PostgreSQL cannot store them."""

    kind: type = dict
    expected = 'an object, such as {"key": "value"}'

    def clean(self, value: Any) -> Any:
        """Return the parsed value; an empty field is the empty value of its type."""
        found = super().clean(value)
        found = self.kind() if found is None else found
        if not isinstance(found, self.kind):
            raise forms.ValidationError(f"Enter {self.expected}.")
        if "\\u0000" in json.dumps(found):
            raise forms.ValidationError("The NUL character is not allowed.")
        return found


class ConfigField(JsonField):
    """The configuration of an instance. The keys of Hopper are checked; others are free."""

    def clean(self, value: Any) -> Any:
        """Return the configuration."""
        config = super().clean(value)
        problems = config_errors(config)
        if problems:
            raise forms.ValidationError([f"{key}: {problem}" for key, problem in problems])
        return config


class WordsField(JsonField):
    """A list of words."""

    kind = list
    expected = 'a list of words, such as ["a", "b"]'

    def clean(self, value: Any) -> list[str]:
        """Return the words."""
        found: list[Any] = super().clean(value)
        if not all(isinstance(word, str) and key_of(word) for word in found):
            raise forms.ValidationError(f"Enter {self.expected}.")
        return found
