"""A lease's token is a credential of its own: for reports on its own task, and nothing else."""

from __future__ import annotations

from typing import Any

import pytest

from instances.models import Attempt, HopperInstance, Task
from tests.api.conftest import Caller
from tests.factories import TaskFactory

REPORTS = (
    ("heartbeat", {}, "claimed"),
    ("complete", {"result": {"n": 1}}, "done"),
    ("fail", {"error": "no", "retryable": False}, "failed"),
    ("release", {}, "pending"),
)


@pytest.fixture
def lease(ada: Caller, tree: dict[str, HopperInstance]) -> dict[str, Any]:
    """A task at an orchestration, claimed, with its lease."""
    TaskFactory(instance=tree["web-run"])
    (task,) = ada.tell("/instances/web-run/claim", {"worker": "w"})["tasks"]
    return {"id": task["id"], **task["lease"]}


def by_lease(caller: Caller, token: str) -> Caller:
    caller.credentials(HTTP_AUTHORIZATION=f"Lease {token}")
    return caller


@pytest.mark.parametrize(("verb", "body", "status"), REPORTS)
def test_a_lease_token_alone_reports_on_its_task(
    nobody: Caller, lease: dict[str, Any], verb: str, body: dict[str, Any], status: str
) -> None:
    answer = by_lease(nobody, lease["token"]).tell(f"/tasks/{lease['id']}/{verb}", body)
    assert answer["status"] == status
    if verb != "heartbeat":
        assert Task.objects.get(pk=lease["id"]).events.last().actor == "w"


def test_a_report_needs_no_body(nobody: Caller, lease: dict[str, Any]) -> None:
    caller = by_lease(nobody, lease["token"])
    assert caller.call("POST", f"/tasks/{lease['id']}/heartbeat").status_code == 200


def test_a_report_is_repeated_under_its_key(nobody: Caller, lease: dict[str, Any]) -> None:
    caller = by_lease(nobody, lease["token"])
    path = f"/tasks/{lease['id']}/complete"
    first = caller.tell(path, {"result": 1}, **{"Idempotency-Key": "k"})
    assert caller.tell(path, {"result": 1}, **{"Idempotency-Key": "k"}) == first


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/tasks"),
        ("GET", "/tasks/ID"),
        ("GET", "/instances"),
        ("GET", "/status"),
        ("POST", "/tasks/ID/cancel"),
        ("POST", "/tasks/ID/claim"),
        ("POST", "/tasks/ID/escalate"),
        ("POST", "/tasks/ID/decompose"),
        ("POST", "/instances/web-run/claim"),
        ("POST", "/tasks"),
    ],
)
def test_a_lease_token_does_nothing_else(
    nobody: Caller, lease: dict[str, Any], method: str, path: str
) -> None:
    caller = by_lease(nobody, lease["token"])
    answer = caller.call(method, path.replace("ID", lease["id"]), {} if method == "POST" else None)
    assert answer.status_code == 403
    assert answer.json()["code"] == "not_allowed"


def test_a_lease_token_reports_on_no_other_task(
    ada: Caller, nobody: Caller, lease: dict[str, Any], tree: dict[str, HopperInstance]
) -> None:
    other = TaskFactory(instance=tree["web-run"])
    caller = by_lease(nobody, lease["token"])
    assert caller.call("POST", f"/tasks/{other.pk}/complete", {}).status_code == 401
    ada.tell(f"/tasks/{other.pk}/claim", {"worker": "x"})
    foreign = Attempt.objects.get(task=other).lease_token
    caller.tell(f"/tasks/{lease['id']}/complete", {"token": foreign}, 404)
    caller.tell(f"/tasks/{other.pk}/complete", {"token": foreign}, 401)


@pytest.mark.parametrize("token", ["", "1-no", "a b", "\x00", "\xff"])
def test_a_wrong_token_is_refused(nobody: Caller, lease: dict[str, Any], token: str) -> None:
    answer = by_lease(nobody, token).call("POST", f"/tasks/{lease['id']}/heartbeat", {})
    assert answer.status_code == 401


def test_a_report_of_an_ended_lease_learns_how_it_ended(
    ada: Caller, nobody: Caller, lease: dict[str, Any]
) -> None:
    ada.tell(f"/tasks/{lease['id']}/release", {"token": lease["token"]})
    caller = by_lease(nobody, lease["token"])
    refusal = caller.tell(f"/tasks/{lease['id']}/heartbeat", {}, 409)
    assert (refusal["code"], refusal["state"]) == ("lease_lost", "pending")
    assert refusal["outcome"] == "released"


def test_a_lease_says_its_length(ada: Caller, tree: dict[str, HopperInstance]) -> None:
    task = TaskFactory(instance=tree["web-run"])
    claim = {"worker": "w", "lease_seconds": 45}
    assert ada.tell(f"/tasks/{task.pk}/claim", claim)["lease"]["seconds"] == 45


@pytest.mark.parametrize(("own", "queue", "longest"), [(5, 9, 5), (9, 5, 9), (None, 7, 7)])
def test_a_lease_says_how_long_the_attempt_may_run(
    ada: Caller,
    tree: dict[str, HopperInstance],
    own: int | None,
    queue: int,
    longest: int,
) -> None:
    config = {"max_runtime_seconds": queue}
    HopperInstance.objects.filter(pk="web-run").update(config=config)
    task = TaskFactory(instance=tree["web-run"], max_runtime_seconds=own)
    (claimed,) = ada.tell("/instances/web-run/claim", {"worker": "w"})["tasks"]
    assert claimed["lease"]["max_runtime_seconds"] == longest
    again = ada.tell(f"/tasks/{task.pk}/claim", {"worker": "w"})
    assert again["lease"] == claimed["lease"]
