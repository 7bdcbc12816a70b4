"""A value that a caller sends in any field of a task comes back as it was sent."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from hopper.task_fields import CREATE, EDIT, TaskField, set_at

if TYPE_CHECKING:
    from instances.models import HopperInstance
    from tests.api.conftest import Caller

pytestmark = pytest.mark.django_db

RELATIONS = {"instance_id", "parent_id", "depends_on"}


def _value(field: TaskField, end: int) -> Any:
    """Return a valid value: the first or the last that the field takes."""
    match field.kind:
        case "word":
            return field.choices[end]
        case "words":
            return [["first"], ["last", "two"]][end]
        case "whole":
            return (field.least, field.most)[end]
        case "time":
            return ("2030-01-01T00:00:00Z", "2031-01-01T00:00:00Z")[end]
        case "object":
            return ({"a": 1}, {"b": [2]})[end]
        case _:
            return ("x", "y" * min(field.length or 1, 500))[end]


def _filled(moment: str, end: int) -> dict[str, Any]:
    return {
        field.name: _value(field, end)
        for field in set_at(moment)
        if field.name not in RELATIONS and field.shown
    }


def test_every_field_is_kept_at_creation_and_after_an_edit(
    ada: Caller, tree: dict[str, HopperInstance]
) -> None:
    sent = _filled(CREATE, 0)
    made = ada.call("POST", "/tasks", sent).json()
    assert {name: made[name] for name in sent} == sent
    changes = _filled(EDIT, -1)
    edited = ada.call("PATCH", f"/tasks/{made['id']}", changes).json()
    assert {name: edited[name] for name in changes} == changes


def test_a_field_that_may_be_null_is_emptied_by_null(
    ada: Caller, tree: dict[str, HopperInstance]
) -> None:
    made = ada.call("POST", "/tasks", _filled(CREATE, 0)).json()
    nulls = {field.name: None for field in set_at(EDIT) if field.nullable}
    edited = ada.call("PATCH", f"/tasks/{made['id']}", nulls).json()
    assert "max_runtime_seconds" in nulls
    assert {name: edited[name] for name in nulls} == nulls
