"""Tasks show their whole story; only what describes them can be edited."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from django.urls import reverse
from django.utils.html import strip_tags

from delegation.delegator import Delegator
from delegation.models import TaskDelegation
from instances.models import Event, Task
from instances.tasks.ending import cancel_task
from instances.tasks.worker import claim_task, complete_task, fail_task
from tests.factories import ALICE, TaskFactory
from tests.spellings import CAFE, FIVE

if TYPE_CHECKING:
    from tests.admin.conftest import Family, Site

pytestmark = pytest.mark.unmeasured

CHANGE = "instances_task_change"


def _tables(site: Site, task: Task) -> dict[str, Any]:
    tables = site.get(CHANGE, task.pk).context["tables"]
    return {table.title.split(":")[0].split(",")[0]: table for table in tables}


def _edit(site: Site, task: Task, **changes: Any) -> Any:
    form = site.get(CHANGE, task.pk).context["adminform"].form
    sent = {name: "" if (value := form[name].value()) is None else value for name in form.fields}
    return site.post(CHANGE, task.pk, **{**sent, "not_before_0": "", "not_before_1": "", **changes})


@pytest.fixture
def handed(family: Family) -> Task:
    """A task walked by hand from GLOBAL to the orchestration."""
    task = TaskFactory(instance=family.top)
    delegator = Delegator(ALICE)
    for target in (family.web, family.run):
        delegator.delegate_task(task.pk, target.pk)
        delegation = TaskDelegation.objects.get(task=task, target_instance=target)
        delegator.accept_delegation(delegation.pk)
    return Task.objects.get(pk=task.pk)


def test_the_page_shows_the_way_in_order(site: Site, handed: Task) -> None:
    way = _tables(site, handed)["Way"]
    assert way.title == "Way: top > web > run"
    assert [(row[0], strip_tags(row[1]), strip_tags(row[2])) for row in way.rows] == [
        (1, "top", "web"),
        (2, "web", "run"),
    ]


def test_a_finished_task_still_shows_its_way(site: Site, handed: Task) -> None:
    claimed = claim_task(handed.pk, worker="worker-1", actor=ALICE).task
    complete_task(handed.pk, token=claimed.lease_token, result="ok", actor=ALICE)
    tables = _tables(site, handed)
    assert tables["Way"].title == "Way: top > web > run"
    assert tables["Attempts"].rows[0][1] == "worker-1"
    assert "task.done" in [row[1] for row in tables["Events"].rows]


def test_an_edit_goes_through_the_service(site: Site, handed: Task) -> None:
    assert _edit(site, handed, title="Better", complexity="3").status_code == 302
    task = Task.objects.get(pk=handed.pk)
    assert (task.title, task.complexity, task.instance_id) == ("Better", 3, "run")
    event = Event.objects.filter(task=task, kind="task.updated").get()
    assert (event.actor, event.data["fields"]) == ("alice", ["complexity", "title"])


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("tags", '"web"'),
        ("tags", "[1]"),
        ("context", "[]"),
        ("complexity", "6"),
        ("title", ""),
    ],
)
def test_a_wrong_value_is_shown_at_its_field(
    site: Site, handed: Task, field: str, value: str
) -> None:
    form = _edit(site, handed, **{field: value}).context["adminform"].form
    assert list(form.errors) == [field]


def test_state_is_not_editable(site: Site, handed: Task) -> None:
    _edit(site, handed, status="done", instance="data", title="Only this")
    task = Task.objects.get(pk=handed.pk)
    assert (task.status, task.instance_id, task.title) == ("pending", "run", "Only this")


def test_a_finished_task_cannot_be_edited(site: Site, family: Family) -> None:
    task = TaskFactory(instance=family.run)
    site.act("instances_task", "cancel", task, apply="yes", reason="not needed")
    assert Task.objects.get(pk=task.pk).error == "not needed"
    assert site.post(CHANGE, task.pk, title="Late").status_code == 403


def test_cancelling_asks_first(site: Site, family: Family) -> None:
    task = TaskFactory(instance=family.run)
    page = site.post("instances_task_changelist", action="cancel", _selected_action=[task.pk])
    assert b"Kept with each task" in page.content
    assert Task.objects.get(pk=task.pk).status == "pending"
    said = site.act("instances_task", "cancel", task, apply="yes")
    assert said == [f"Now cancelled: {task.pk}."]


def test_dead_letters_are_listed_discarded_and_retried(site: Site, family: Family) -> None:
    dead, lost = (TaskFactory(instance=family.run, title=title) for title in ("dead", "lost"))
    for task in (dead, lost):
        token = claim_task(task.pk, worker="bob", actor=ALICE).token
        fail_task(task.pk, token=token, error="no disk", retryable=False, actor=ALICE)
    TaskFactory(instance=family.run, title="alive")

    def listed() -> set[str]:
        page = site.client.get("/admin/instances/task/", {"dead_letters": "yes"})
        return {task.title for task in page.context["cl"].result_list}

    assert listed() == {"dead", "lost"}
    assert site.act("instances_task", "discard", dead) == [f"Now failed: {dead.pk}."]
    assert listed() == {"lost"}
    assert site.act("instances_task", "retry", dead, lost) == [
        f"Now pending: {lost.pk}, {dead.pk}."
    ]
    assert listed() == set()
    (why,) = site.act("instances_task", "discard", lost)
    assert "only a failed task is a dead letter" in why


def test_routing_again_begins_a_new_epoch(site: Site, family: Family) -> None:
    task = TaskFactory(instance=family.run)
    site.act("instances_task", "reroute", task)
    assert Task.objects.get(pk=task.pk).epoch == task.epoch + 1


def test_routing_a_started_task_again_is_refused_with_words(site: Site, family: Family) -> None:
    task = TaskFactory(instance=family.run)
    claim_task(task.pk, worker="worker-1", actor=ALICE)
    (why,) = site.act("instances_task", "reroute", task)
    assert "only a resting task can be routed again" in why


def test_tasks_are_neither_added_nor_deleted_here(site: Site, handed: Task) -> None:
    assert site.get("instances_task_add").status_code == 403
    assert site.post("instances_task_delete", handed.pk, post="yes").status_code == 403


def test_tasks_are_found_by_title_and_holder(site: Site, family: Family) -> None:
    TaskFactory(instance=family.run, title="sweep the yard")
    TaskFactory(instance=family.data, title="count the sheep")
    page = "/admin/instances/task/"
    found = site.client.get(page, {"q": "yard"}).content
    assert b"sweep the yard" in found
    assert b"count the sheep" not in found
    held = site.client.get(page, {"instance__id__exact": "data"}).content
    assert b"count the sheep" in held
    assert b"sweep the yard" not in held


def test_a_filter_has_the_name_that_the_page_uses(site: Site, family: Family) -> None:
    due = TaskFactory(instance=family.top, title="place me")
    TaskFactory(instance=family.run, title="at rest")
    page = site.client.get("/admin/instances/task/", {"route_due__exact": "1"})
    assert "to be placed" in [one.title for one in page.context["cl"].filter_specs]
    assert [task.pk for task in page.context["cl"].result_list] == [due.pk]
    assert b"To be placed:" in site.get(CHANGE, due.pk).content


@pytest.mark.parametrize("field", ["tags", "required_capabilities"])
def test_the_form_takes_one_word_however_it_is_spelt(
    site: Site, family: Family, field: str
) -> None:
    task = TaskFactory(instance=family.run)
    assert _edit(site, task, **{field: json.dumps(FIVE)}).status_code == 302
    assert getattr(Task.objects.get(pk=task.pk), field) == [CAFE]
    before = Event.objects.count()
    assert _edit(site, task, **{field: json.dumps([FIVE[1], "x"])}).status_code == 302
    assert getattr(Task.objects.get(pk=task.pk), field) == [FIVE[1], "x"]
    assert Event.objects.count() > before


@pytest.mark.parametrize("word", FIVE, ids=ascii)
def test_the_list_finds_the_project_of_a_task_however_it_is_spelt(
    site: Site, family: Family, word: str
) -> None:
    task = TaskFactory(instance=family.run, title="x", project=CAFE)
    found = site.client.get(reverse("admin:instances_task_changelist"), {"q": word})
    assert [one.pk for one in found.context["cl"].result_list] == [task.pk]


def test_the_page_lists_the_children_with_their_states(site: Site, family: Family) -> None:
    task = TaskFactory(instance=family.run)
    children = [TaskFactory(instance=family.run, parent_id=task.pk) for _ in range(2)]
    cancel_task(children[0].pk, actor=ALICE)
    rows = _tables(site, task)["Children"].rows
    assert [(strip_tags(row[0]), strip_tags(row[2])) for row in rows] == [
        (children[0].pk, "cancelled"),
        (children[1].pk, "pending"),
    ]
