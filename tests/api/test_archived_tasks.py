"""Requests for archived tasks, and readers of the feed that were away for long."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import time_machine
from django.utils import timezone

from delegation.archive.batches import archive_step
from delegation.archive.retention import Retention
from hopper import database
from instances.minutes import count_events
from instances.models import ArchiveFile, HopperInstance, Task
from instances.tasks.status_by_hand import set_status
from tests.api.conftest import Caller
from tests.factories import ALICE, InstanceFactory, TaskFactory

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def place() -> HopperInstance:
    return InstanceFactory(scope="PROJECT", name="web", config={"retention_days": 1})


@pytest.fixture
def gone(place: HopperInstance, tmp_path: Path) -> Task:
    """A task that was done and is archived."""
    task = set_status(TaskFactory(instance=place).pk, status="done", actor=ALICE)
    count_events()
    with time_machine.travel(timezone.now() + timedelta(days=2)):
        assert archive_step(tmp_path, Retention(database.now()), "")
    assert not Task.objects.exists()
    return task


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("GET", "", None),
        ("GET", "/events", None),
        ("PATCH", "", {"title": "new"}),
        ("POST", "/retry", {}),
        ("POST", "/comments", {"text": "new"}),
        ("POST", "/complete", {}),
    ],
)
def test_a_request_for_an_archived_task_is_gone_and_names_the_file(
    ada: Caller, gone: Task, method: str, path: str, body: Any
) -> None:
    answer = ada.call(method, f"/tasks/{gone.pk}{path}", body)
    assert answer.status_code == 410
    told = answer.json()
    assert told["code"] == "archived"
    assert told["file"] == ArchiveFile.objects.get().name


def test_a_caller_who_never_saw_the_task_hears_that_there_is_none(
    caller: Callable[..., Caller], gone: Task
) -> None:
    other = caller("eve", "admin", InstanceFactory(scope="PROJECT", name="other"))
    answer = other.call("GET", f"/tasks/{gone.pk}")
    assert answer.status_code == 404
    assert "archive" not in answer.content.decode()


def test_a_new_task_may_depend_on_an_archived_one_but_have_none_as_parent(
    ada: Caller, gone: Task, place: HopperInstance
) -> None:
    body = {"title": "next", "instance_id": place.pk}
    made = ada.tell("/tasks", {**body, "depends_on": [gone.pk]}, status=201)
    assert (made["ready"], made["depends_on"]) == (True, [])
    wrong = {**body, "parent_id": gone.pk, "depends_on": [gone.pk]}
    refused = ada.tell("/tasks", wrong, status=400)
    assert [error["field"] for error in refused["errors"]] == ["parent_id"]


def test_a_reader_of_the_feed_that_was_away_is_told(
    ada: Caller, gone: Task, place: HopperInstance
) -> None:
    reach = ArchiveFile.last_position()
    for feed in ("/events", f"/instances/{place.pk}/events"):
        assert ada.ask(feed)["archived_up_to"] == reach
        assert ada.ask(feed, after=reach - 1)["archived_up_to"] == reach
        assert ada.ask(feed, after=reach)["archived_up_to"] is None
    new = TaskFactory(instance=place)
    assert "archived_up_to" not in ada.ask(f"/tasks/{new.pk}/events")


def test_a_webhook_that_is_behind_the_archive_says_so(
    ada: Caller, gone: Task, place: HopperInstance
) -> None:
    TaskFactory(instance=place)
    made = ada.tell(
        "/webhooks", {"url": "https://example.org/", "instance_id": place.pk}, status=201
    )
    assert made["archived_up_to"] is None
    behind = ada.tell(f"/webhooks/{made['id']}/replay", {"after": 0})
    assert behind["archived_up_to"] == ArchiveFile.last_position()
