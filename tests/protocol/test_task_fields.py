"""Every door offers the fields of a task that the one list names, with its words and bounds."""

from __future__ import annotations

from typing import Any

import anyio
import pytest
from django.contrib import admin
from django.contrib.auth import get_user_model
from django.core.exceptions import FieldDoesNotExist
from django.http import HttpRequest

from delegation.api.serializers import Child, Decompose
from hopper.cli.arguments import HopperParser
from hopper.cli.handlers.tasks import CHANGEABLE, add_options
from hopper.cli.mcp.server import build_server
from hopper.cli.transport import Client
from hopper.task_fields import BY_NAME, CHILD, CREATE, EDIT, TASK_FIELDS, TERMS, TaskField, set_at
from instances.api.task_serializers import NewTaskBody, TaskBody, TaskSerializer
from instances.models import Task
from instances.tasks.creating import NewTask
from instances.tasks.editing import update_task
from tests.factories import ALICE, TaskFactory


def _column(field: TaskField) -> Any:
    try:
        return Task._meta.get_field(field.name)
    except FieldDoesNotExist:
        return None


def _tools() -> dict[str, dict[str, Any]]:
    class Silent:
        def request(self, method: str, path: str, **options: Any) -> Any:
            raise AssertionError("a list of tools asks nothing")

    server = build_server(Client(Silent()))
    return {tool.name: tool.input_schema for tool in anyio.run(server.list_tools)}


def test_no_field_is_listed_twice() -> None:
    assert len(BY_NAME) == len(TASK_FIELDS)


@pytest.mark.parametrize("field", TASK_FIELDS, ids=lambda field: field.name)
def test_a_field_agrees_with_its_column(field: TaskField) -> None:
    column = _column(field)
    if not field.set_at or column is None or column.is_relation:
        return
    words = [word for word, _ in column.choices or ()]
    assert list(field.choices) == words
    assert field.nullable == column.null
    if field.kind in ("text", "line") and column.max_length:
        assert field.length == column.max_length


@pytest.mark.parametrize(
    ("body", "moment"),
    [(NewTaskBody, CREATE), (TaskBody, EDIT), (Child, CHILD), (Decompose, TERMS)],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_body_takes_the_fields_that_may_be_set_then(body: Any, moment: str) -> None:
    fields = body().fields
    for field in set_at(moment):
        assert fields[field.name].help_text == field.words
        assert fields[field.name].allow_null == field.nullable
    assert fields.keys() - {field.name for field in set_at(moment)} <= {
        "children", "token", "worker",
    }  # fmt: skip


def test_an_answer_shows_the_fields_in_the_order_of_the_list() -> None:
    shown = [field.name for field in TASK_FIELDS if field.shown]
    assert list(TaskSerializer.Meta.fields) == shown


@pytest.mark.parametrize("field", set_at(CREATE), ids=lambda field: field.name)
def test_the_command_line_takes_a_field_that_has_an_option(field: TaskField) -> None:
    if not field.option:
        return
    parser = HopperParser()
    for add in add_options():
        add(parser)
    text = field.choices[0] if field.choices else str(field.least or "2030-01-01T00:00:00Z")
    args = parser.parse_args(["A title", field.option.split()[-1], text])
    value: Any = int(text) if field.kind == "whole" else text
    assert getattr(args, field.name) == ([text] if field.kind == "words" else value)


def test_the_tools_take_the_fields_for_agents_each_described() -> None:
    tools = _tools()
    for name, moment in (("add_task", CREATE), ("decompose_task", TERMS)):
        for field in set_at(moment):
            if field.for_agents:
                assert tools[name]["properties"][field.name] == field.json_schema()
    child = tools["decompose_task"]["properties"]["children"]["items"]
    assert set(child["properties"]) == {one.name for one in set_at(CHILD) if one.for_agents}
    for name, schema in tools.items():
        for parameter, said in schema["properties"].items():
            assert said["description"], f"{name}: {parameter}"


def test_the_admin_edits_every_column_that_an_edit_may_change() -> None:
    page = admin.site._registry[Task]
    request = HttpRequest()
    request.user = get_user_model()(username="root", is_staff=True, is_superuser=True)
    form = page.get_form(request, Task(), change=True)
    editable = {field.name for field in set_at(EDIT) if _column(field) is not None}
    assert set(form.base_fields) == editable


@pytest.mark.django_db
def test_a_service_takes_no_other_field() -> None:
    with pytest.raises(TypeError, match="epoch"):
        NewTask("t", epoch=2)
    task = TaskFactory()
    with pytest.raises(TypeError, match="status"):
        update_task(task.pk, changes={"status": "done"}, actor=ALICE)


def test_update_offers_the_options_of_the_fields_that_it_replaces() -> None:
    names = {field.name for field in CHANGEABLE}
    assert {"description", "priority", "project", "complexity"} <= names
    assert not names & {"tags", "instance_id", "unique_key"}
