"""An Idempotency-Key makes a POST happen once, whatever is repeated (R20)."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

import pytest
from django.utils import timezone

from instances.models import Attempt, HopperInstance, IdempotencyRecord, Task
from instances.tasks.ending import cancel_task
from tests.api.conftest import Caller
from tests.factories import ALICE, TaskFactory

KEY = {"idempotency-key": "key-1"}


def test_the_first_answer_shows_the_task_placed_and_the_replay_is_the_same_task(
    ada: Caller, tree: dict[str, HopperInstance]
) -> None:
    body = {"title": "x", "instance_id": "top", "tags": ["web"], "complexity": 4}
    first = ada.call("POST", "/tasks", body, **KEY)
    again = ada.call("POST", "/tasks", body, **KEY)
    assert (first.status_code, first.json()["instance_id"]) == (201, "web-run")
    assert (again.status_code, again.json()["id"]) == (201, first.json()["id"])
    assert again["Idempotent-Replayed"] == "true"
    assert "Idempotent-Replayed" not in first
    assert Task.objects.count() == 1


def test_the_same_key_for_another_request_is_refused(
    ada: Caller, tree: dict[str, HopperInstance]
) -> None:
    ada.tell("/tasks", {"title": "x"}, 201, **KEY)
    assert ada.tell("/tasks", {"title": "y"}, 422, **KEY)["code"] == "idempotency_key_reused"
    assert ada.tell("/instances/web/pause", {}, 422, **KEY)["code"] == "idempotency_key_reused"
    assert Task.objects.count() == 1


def test_a_key_belongs_to_its_caller(
    ada: Caller, caller: Callable[..., Caller], transactional_db: None
) -> None:
    one = ada.tell("/tasks", {"title": "x"}, 201, **KEY)
    two = caller("bob").tell("/tasks", {"title": "x"}, 201, **KEY)
    assert one["id"] != two["id"]


def test_a_claim_under_a_key_gets_what_a_lost_lease_held(
    ada: Caller, tree: dict[str, HopperInstance]
) -> None:
    TaskFactory(instance=tree["web-run"])
    claim, body = "/instances/web-run/claim", {"worker": "bob"}
    assert len(ada.tell(claim, body, 200)["tasks"]) == 1
    Task.objects.update(lease_expires_at=timezone.now() - timedelta(seconds=1))
    (found,) = ada.tell(claim, body, 200, **KEY)["tasks"]
    assert found["attempt"] == 2


def test_a_refusal_is_not_stored_but_judged_anew(
    ada: Caller, tree: dict[str, HopperInstance]
) -> None:
    ada.tell("/instances/web/resume", {}, 200)
    ada.tell("/instances/web/recover", {}, 200)
    ada.tell("/instances/ops/stop", {}, 200)
    ada.tell("/instances/ops/pause", {}, 409, **KEY)
    assert not IdempotencyRecord.objects.exists()
    ada.tell("/instances/ops/start", {}, 200)
    assert ada.tell("/instances/ops/pause", {}, 200, **KEY)["status"] == "paused"


def test_a_key_is_forgotten_after_a_day(ada: Caller) -> None:
    one = ada.tell("/tasks", {"title": "x"}, 201, **KEY)
    IdempotencyRecord.objects.update(created_at=timezone.now() - timedelta(hours=25))
    assert ada.tell("/tasks", {"title": "x"}, 201, **KEY)["id"] != one["id"]


@pytest.mark.parametrize("key", ["", "a b", "\u00e9", "x" * 256])
def test_a_malformed_key_is_refused(ada: Caller, key: str) -> None:
    answer = ada.call("POST", "/tasks", {"title": "x"}, **{"idempotency-key": key})
    assert answer.status_code == 400
    assert answer.json()["errors"][0]["field"] == "Idempotency-Key"
    assert not Task.objects.exists()


def test_claiming_the_next_tasks_again_with_the_key_hands_out_the_same(
    ada: Caller, tree: dict[str, HopperInstance]
) -> None:
    for _ in range(3):
        TaskFactory(instance=tree["web-run"])
    one = ada.tell("/instances/web-run/claim", {"worker": "w"}, **KEY)
    again = ada.tell("/instances/web-run/claim", {"worker": "w"}, **KEY)
    other = ada.tell("/instances/web-run/claim", {"worker": "w"})
    assert again == one
    assert other["tasks"][0]["id"] != one["tasks"][0]["id"]


def test_a_late_result_is_kept_though_the_answer_is_a_refusal(
    ada: Caller, tree: dict[str, HopperInstance]
) -> None:
    task = TaskFactory(instance=tree["web-run"])
    (claimed,) = ada.tell("/instances/web-run/claim", {"worker": "w"})["tasks"]
    cancel_task(task.pk, actor=ALICE)
    body = {"token": claimed["lease"]["token"], "result": {"late": True}}
    ada.tell(f"/tasks/{task.pk}/complete", body, 410, **KEY)
    assert Attempt.objects.get(task=task).artifact == {"late": True}
