"""Forms that write through a service, and their fields."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from django import forms

from hopper.config.settings import config_errors
from hopper.errors import HopperError
from hopper.words import key_of
from instances.admin.base import GuardedAdmin, actor_of

if TYPE_CHECKING:
    from django.db.models import Model
    from django.http import HttpRequest

    from hopper.actors import Actor

    _ModelForm = forms.ModelForm[Any]
else:
    _ModelForm = forms.ModelForm


class ServiceForm(_ModelForm):
    """Calls a service during validation, so that a refusal appears at its field.

    The admin validates and saves in one transaction, and services open their own savepoints. So an
    invalid form writes nothing.
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
        adding = self.instance._state.adding
        wanted = self.cleaned_data if adding else self.changed_data
        values = {self.names.get(name, name): self.cleaned_data[name] for name in wanted}
        try:
            self.instance = self.write(values)
        except HopperError as refusal:
            self._show(refusal)

    def _show(self, refusal: HopperError) -> None:
        fields = {service: field for field, service in self.names.items()}
        for error in refusal.errors:
            name = error.field.split(".")[0]
            field = fields.get(name, name)
            self.add_error(field if field in self.fields else None, error.detail)
        if not refusal.errors:
            self.add_error(None, refusal.detail)


class ServedAdmin(GuardedAdmin):
    """A page whose form writes through a service."""

    def get_form(
        self, request: HttpRequest, obj: Any = None, change: bool = False, **kwargs: Any
    ) -> Any:
        """Return the form class, bound to the caller."""
        form = super().get_form(request, obj, change, **kwargs)
        form.actor = actor_of(request)  # type: ignore[attr-defined]
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
