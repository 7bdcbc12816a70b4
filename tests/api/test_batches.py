"""`POST /tasks/complete` and `POST /instances/{id}/next`: many reports, one answer for each."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from instances.models import Event, HopperInstance, Task
from instances.tasks.worker import claim_next
from tests.api.conftest import Caller
from tests.factories import ALICE, TaskFactory

if TYPE_CHECKING:
    from collections.abc import Callable


def _claimed(run: HopperInstance, number: int) -> list[dict[str, Any]]:
    for _ in range(number):
        TaskFactory(instance=run)
    leases = claim_next(run.pk, worker="w", limit=number, actor=ALICE).leases
    return [
        {"id": one.task.pk, "token": one.token, "result": {"n": n}} for n, one in enumerate(leases)
    ]


def test_every_report_has_its_answer(ada: Caller, tree: dict[str, HopperInstance]) -> None:
    one, two = _claimed(tree["web-run"], 2)
    body = [one, {"id": "task-none"}, {**two, "token": "1.wrong"}]
    done, unknown, lost = ada.tell("/tasks/complete", body)
    assert done == {"id": one["id"], "status": "done", "problem": None}
    assert (unknown["status"], unknown["problem"]["status"]) == (None, 404)
    assert (lost["status"], lost["problem"]["code"]) == ("claimed", "lease_lost")
    assert ada.ask(f"/tasks/{one['id']}")["result"] == {"n": 0}


def test_a_key_completes_once(ada: Caller, tree: dict[str, HopperInstance]) -> None:
    reports = _claimed(tree["web-run"], 3)
    key = {"idempotency-key": "batch-1"}
    first = ada.tell("/tasks/complete", reports, **key)
    assert ada.tell("/tasks/complete", reports, **key) == first
    assert [one["status"] for one in first] == ["done"] * 3
    told = Event.objects.filter(kind="task.done", instance="top")
    assert told.count() == 3
    assert ada.tell("/tasks/complete", reports[:1], 422, **key)["code"] == "idempotency_key_reused"


def test_a_caller_completes_its_own_leases_and_no_others(
    caller: Callable[..., Caller], tree: dict[str, HopperInstance]
) -> None:
    bob = caller("bob", "worker", tree["web"])
    (here,), (there,) = _claimed(tree["web-run"], 1), _claimed(tree["ops-run"], 1)
    hidden = {"id": there["id"], "result": 1}
    mine, none = bob.tell("/tasks/complete", [here, hidden])
    assert (mine["status"], none["status"], none["problem"]["status"]) == ("done", None, 404)
    # The token of the lease permits the report.
    (told,) = bob.tell("/tasks/complete", [there])
    assert told["status"] == "done"
    watcher = caller("vera", "viewer", tree["web"])
    (left,) = _claimed(tree["web-run"], 1)
    assert watcher.tell("/tasks/complete", [left], 403)["role"] == "worker"


def test_a_wrong_body_is_refused_as_a_whole(ada: Caller, tree: dict[str, HopperInstance]) -> None:
    (one,) = _claimed(tree["web-run"], 1)
    for body in ([], {}, [one, {"token": "1.x"}], [{**one, "unknown": 1}], [one] * 101):
        assert ada.tell("/tasks/complete", body, 400)["code"] == "invalid"
    assert Task.objects.get(pk=one["id"]).status == "claimed"


def test_next_completes_and_claims(ada: Caller, tree: dict[str, HopperInstance]) -> None:
    (one,) = _claimed(tree["web-run"], 1)
    following = TaskFactory(instance=tree["web-run"])
    body = {"worker": "w", "completed": [one, {"id": "task-none"}]}
    answer = ada.tell("/instances/web-run/next", body)
    assert [told["status"] for told in answer["completed"]] == ["done", None]
    assert [task["id"] for task in answer["tasks"]] == [following.pk]
    assert answer["tasks"][0]["lease"]["token"]
    assert answer["waiting"] is None
    last = ada.tell("/instances/web-run/next", {"worker": "w"})
    assert (last["completed"], last["tasks"], last["waiting"]["code"]) == ([], [], "Empty")


def test_next_with_a_key_gives_the_same_lease_again(
    ada: Caller, tree: dict[str, HopperInstance]
) -> None:
    (one,) = _claimed(tree["web-run"], 1)
    TaskFactory(instance=tree["web-run"])
    TaskFactory(instance=tree["web-run"])
    body = {"worker": "w", "completed": [one]}
    key = {"idempotency-key": "next-1"}
    first = ada.tell("/instances/web-run/next", body, **key)
    again = ada.tell("/instances/web-run/next", body, **key)
    assert [task["lease"]["token"] for task in again["tasks"]] == [
        task["lease"]["token"] for task in first["tasks"]
    ]
    assert Task.objects.leased().count() == 1
