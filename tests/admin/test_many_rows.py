"""An action says what was done: of many rows, and of rows that have left the list."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from django.urls import reverse

from instances.admin import base
from instances.admin.base import LongPaginator
from instances.models import Task
from instances.tasks.ending import cancel_task
from tests.admin.conftest import said
from tests.factories import ALICE, TaskFactory

if TYPE_CHECKING:
    from tests.admin.conftest import Family, Site

LIST = "instances_task_changelist"


def test_rows_that_have_left_the_list_are_named(site: Site, family: Family) -> None:
    gone, there = (TaskFactory(instance=family.run) for _ in range(2))
    cancel_task(gone.pk, actor=ALICE)
    page = reverse(f"admin:{LIST}") + "?status=pending"
    sent = {"action": "retry", "_selected_action": [gone.pk, there.pk]}
    told = said(site.client.post(page, sent))
    assert told[0] == f"No longer in this list, and left as they are: {gone.pk}."
    assert told[1] == f"Now pending: {there.pk}."
    assert Task.objects.get(pk=gone.pk).status == "cancelled"


def test_more_rows_than_a_form_has_fields_are_asked_about_and_done(
    site: Site, family: Family
) -> None:
    tasks = [TaskFactory(instance=family.run) for _ in range(25)]
    # No more rows are needed: the others are chosen although there are none.
    chosen = [task.pk for task in tasks] + [f"task-{number}" for number in range(1200)]
    sent = {"action": "cancel", "_selected_action": chosen}
    asked = site.client.post(reverse(f"admin:{LIST}"), sent)
    assert asked.status_code == 200
    assert said(asked)[0].endswith("and 1180 more.")
    fields = asked.content.decode().count('name="_selected_action"')
    assert (fields, asked.context["count"]) == (1, 25)
    answers = {"action": "cancel", "apply": "1", "reason": ""}
    rows = {"_selected_action": asked.context["chosen"]}
    (done,) = said(site.client.post(reverse(f"admin:{LIST}"), {**answers, **rows}))
    assert done.startswith("Now cancelled: ")
    assert done.endswith("and 5 more.")
    assert not Task.objects.open().filter(pk__in=[task.pk for task in tasks]).exists()


@pytest.mark.parametrize("about", [3, 7, 20])
def test_each_row_is_on_a_page_whatever_the_estimate_of_their_number(
    family: Family, monkeypatch: pytest.MonkeyPatch, about: int
) -> None:
    tasks = [TaskFactory(instance=family.run).pk for _ in range(7)]
    monkeypatch.setattr(base, "number_of", lambda rows: (about, True))
    pages, number, seen = LongPaginator(Task.objects.order_by("pk"), 2), 1, list[str]()
    while number <= pages.num_pages:
        seen += [task.pk for task in pages.page(number)]
        number += 1
    assert seen == sorted(tasks)
