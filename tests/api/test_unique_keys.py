"""A `unique_key` finds the tasks that its caller may see, and never a task of somebody else."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from typing import Any

import pytest
from django.db import IntegrityError, connection, transaction

from instances.models import HopperInstance, Task
from tests.api.conftest import Caller
from tests.factories import TaskFactory

KEYED = {"title": "x", "unique_key": "k"}


@pytest.fixture
def two(caller: Callable[..., Caller], tree: dict[str, HopperInstance]) -> list[Caller]:
    """A worker of web and a worker of ops, who see nothing of each other."""
    return [caller(name, "worker", tree[name]) for name in ("web", "ops")]


def test_unassigned_tasks_of_two_callers_have_the_same_key(two: list[Caller]) -> None:
    first, second = (one.tell("/tasks", KEYED, 201) for one in two)
    assert first["id"] != second["id"]
    for one, made in zip(two, (first, second), strict=True):
        assert one.tell("/tasks", KEYED, 200)["id"] == made["id"]
        refusal = one.tell("/tasks", {**KEYED, "on_conflict": "reject"}, 409)
        assert (refusal["code"], refusal["task_id"]) == ("unique_key_taken", made["id"])


def test_a_key_at_an_instance_is_shared_by_all_who_work_there(
    two: list[Caller], ada: Caller
) -> None:
    body = {**KEYED, "instance_id": "web"}
    made = two[0].tell("/tasks", body, 201)
    assert ada.tell("/tasks", body, 200)["id"] == made["id"]
    assert ada.tell("/tasks", KEYED, 201)["id"] != made["id"]


def test_a_task_routed_by_itself_is_matched_only_by_its_creator_where_others_are_hidden(
    two: list[Caller], ada: Caller, settings: Any
) -> None:
    settings.HOPPER_AUTO_ROUTE = True
    made = {one.tell("/tasks", KEYED, 201)["id"] for one in (*two, ada)}
    assert len(made) == 3
    assert set(Task.objects.values_list("origin", flat=True)) == {"top"}
    assert {one.tell("/tasks", KEYED, 200)["id"] for one in (*two, ada)} == made


def test_a_bulk_call_matches_the_same(two: list[Caller]) -> None:
    made = [one.tell("/tasks/bulk", [KEYED, {"title": "y"}], 201)[0]["id"] for one in two]
    assert made[0] != made[1]
    assert two[0].tell("/tasks/bulk", [KEYED], 201)[0]["id"] == made[0]


def test_an_unassigned_task_that_comes_to_an_instance_takes_its_key_along(
    two: list[Caller], ada: Caller
) -> None:
    task = two[0].tell("/tasks", KEYED, 201)
    accepted = {"target_instance_id": "ops", "accept": "auto"}
    ada.tell(f"/tasks/{task['id']}/delegate", accepted, 201)
    assert two[0].tell("/tasks", KEYED, 201)["id"] != task["id"]
    assert two[1].tell("/tasks", {**KEYED, "instance_id": "ops"}, 200)["id"] == task["id"]


def test_the_database_keeps_a_unique_key_unique(tree: dict[str, HopperInstance]) -> None:
    task = TaskFactory(unique_key="k")
    twin = TaskFactory()
    with pytest.raises(IntegrityError), transaction.atomic():
        Task.objects.filter(pk=twin.pk).update(unique_key="k", unique_among=task.unique_among)


@pytest.mark.parametrize("body", [KEYED, {**KEYED, "instance_id": "web"}])
def test_one_key_at_once_makes_one_task(
    caller: Callable[..., Caller], tree: dict[str, HopperInstance], body: dict[str, Any]
) -> None:
    ids = at_once([caller("bob", "worker", tree["web"])] * 8, body)
    assert len(set(ids)) == 1
    assert Task.objects.count() == 1


def test_one_key_of_two_callers_at_once_makes_two_tasks(two: list[Caller]) -> None:
    ids = at_once(two * 4, KEYED)
    assert len(set(ids[::2])) == len(set(ids[1::2])) == 1
    assert Task.objects.count() == 2


def at_once(callers: list[Caller], body: dict[str, Any]) -> list[str]:
    """Return the ids that the callers were answered, who all post at the same moment."""
    begin = Barrier(len(callers))

    def post(one: Caller) -> str:
        begin.wait(timeout=60)
        try:
            answer = one.call("POST", "/tasks", body)
            assert answer.status_code in (200, 201), answer.content
            return str(answer.json()["id"])
        finally:
            connection.close()

    with ThreadPoolExecutor(len(callers)) as pool:
        return list(pool.map(post, callers))
