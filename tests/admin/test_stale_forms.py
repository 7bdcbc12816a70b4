"""A form writes only what the person edited; a change made meanwhile is shown, not undone."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from instances.lifecycle.actions import update_instance
from instances.models import HopperInstance, Task
from instances.tasks.editing import update_task
from tests.factories import ALICE, InstanceFactory, TaskFactory

if TYPE_CHECKING:
    from tests.admin.conftest import Family, Site

TASK, INSTANCE = "instances_task_change", "instances_hopperinstance_change"


def shown(site: Site, page: str, pk: str) -> dict[str, str]:
    """Return what a browser would send back: each field, and the value that was shown."""
    form = site.get(page, pk).context["adminform"].form
    sent: dict[str, str] = {}
    for name in form.fields:
        bound = form[name]
        value = "" if bound.value() is None else str(bound.value())
        sent |= {name: value, bound.html_initial_name: value}
        if name == "not_before":
            sent |= dict.fromkeys(
                ("not_before_0", "not_before_1", "initial-not_before_0", "initial-not_before_1"), ""
            )
    return sent


@pytest.fixture
def task(family: Family) -> Task:
    made: Task = TaskFactory(
        instance=family.run, title="first", description="one\ntwo", tags=["a"], context={"k": 1}
    )
    return made


def test_a_field_that_the_person_did_not_edit_keeps_its_new_value(site: Site, task: Task) -> None:
    sent = shown(site, TASK, task.pk)
    changes: dict[str, Any] = {"title": "second", "tags": ["b"], "context": {"k": 2}}
    update_task(task.pk, changes=changes, actor=ALICE)
    assert site.post(TASK, task.pk, **{**sent, "priority": "low"}).status_code == 302
    row = Task.objects.get(pk=task.pk)
    assert (row.title, row.tags, row.context, row.priority) == ("second", ["b"], {"k": 2}, "low")
    assert row.description == "one\ntwo"


def test_both_values_of_a_conflict_are_shown_and_a_second_save_decides(
    site: Site, task: Task
) -> None:
    sent = shown(site, TASK, task.pk)
    update_task(task.pk, changes={"title": "second", "priority": "urgent"}, actor=ALICE)
    answer = site.post(TASK, task.pk, **{**sent, "title": "third", "owner": "bob"})
    form = answer.context["adminform"].form
    assert list(form.errors) == ["title"]
    assert "second" in form.errors["title"][0]
    assert form["title"].value() == "third"
    assert Task.objects.get(pk=task.pk).owner == ""
    again = {**sent, "title": "third", "owner": "bob"}
    again["initial-title"] = form.data["initial-title"]
    assert 'name="initial-title" value="second"' in answer.content.decode()
    assert site.post(TASK, task.pk, **again).status_code == 302
    row = Task.objects.get(pk=task.pk)
    assert (row.title, row.owner, row.priority) == ("third", "bob", "urgent")


def test_two_people_who_write_the_same_agree(site: Site, task: Task) -> None:
    sent = shown(site, TASK, task.pk)
    update_task(task.pk, changes={"title": "second"}, actor=ALICE)
    assert site.post(TASK, task.pk, **{**sent, "title": "second"}).status_code == 302


def test_line_ends_of_a_browser_are_no_edit(site: Site, task: Task) -> None:
    sent = shown(site, TASK, task.pk)
    sent |= {name: "one\r\ntwo" for name in ("description", "initial-description")}
    site.post(TASK, task.pk, **{**sent, "title": "x"})
    assert Task.objects.get(pk=task.pk).description == "one\ntwo"
    site.post(TASK, task.pk, **{**sent, "title": "x", "description": "1\r\n2"})
    assert Task.objects.get(pk=task.pk).description == "1\n2"


def test_the_form_of_an_instance_undoes_nothing_either(site: Site, family: Family) -> None:
    sent = shown(site, INSTANCE, "web")
    config = {"capabilities": ["web", "css"]}
    update_instance("web", changes={"config": config, "description": "new"}, actor=ALICE)
    assert site.post(INSTANCE, "web", **{**sent, "name": "Site"}).status_code == 302
    row = HopperInstance.objects.get(pk="web")
    assert (row.name, row.config, row.description, row.parent_id) == ("Site", config, "new", "top")
    answer = site.post(INSTANCE, "web", **{**sent, "config": "{}"})
    assert list(answer.context["adminform"].form.errors) == ["config"]
    assert HopperInstance.objects.get(pk="web").config == config


@pytest.mark.parametrize(
    ("field", "stored", "typed"),
    [
        ("name", "Theirs", "Mine"),
        ("description", "theirs", "mine"),
        ("config", '{"capabilities": ["theirs"]}', '{"capabilities": ["mine"]}'),
        ("parent", "data", ""),
    ],
)
def test_the_form_of_an_instance_shows_both_values_and_a_second_save_decides(
    site: Site, family: Family, field: str, stored: str, typed: str
) -> None:
    sent = shown(site, INSTANCE, "web")
    if field == "parent":
        second = InstanceFactory(name="second", id="data-top")
        stored = str(second.pk)
    given: Any = json.loads(stored) if field == "config" else stored
    name = "parent_id" if field == "parent" else field
    update_instance("web", changes={name: given}, actor=ALICE)
    answer = site.post(INSTANCE, "web", **{**sent, field: typed})
    form = answer.context["adminform"].form
    assert list(form.errors) == [field]
    assert stored in form.errors[field][0]
    assert form[field].value() == typed
    before = HopperInstance.objects.get(pk="web")
    assert getattr(before, name) == given
    initial = form[field].html_initial_name
    again = {**sent, field: typed, initial: form.data[initial]}
    assert site.post(INSTANCE, "web", **again).status_code == 302
    now = getattr(HopperInstance.objects.get(pk="web"), name)
    assert now == (json.loads(typed) if field == "config" else typed or None)
