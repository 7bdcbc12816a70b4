"""The same POST comes several times at once under one key: one effect, one answer for all (R20)."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest
from django.contrib.auth import get_user_model

from instances.models import AgentToken, Event, HopperInstance, IdempotencyRecord, Task
from instances.tasks.worker import claim_next
from tests.concurrency.crowd import crowd
from tests.factories import ALICE, InstanceFactory, TaskFactory
from tests.soundness import unsound

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = [pytest.mark.storm, pytest.mark.django_db(transaction=True)]

CALLERS = 4

Call = tuple[str, Any, str]


@pytest.fixture
def secret(transactional_db: None) -> str:
    """The secret of an admin's token; all callers share it, as one who retries does."""
    user = get_user_model().objects.create(username="ada")
    _, secret = AgentToken.objects.create(user, name="ada", role="admin", instance=None)
    return str(secret)


@pytest.fixture
def run(transactional_db: None) -> HopperInstance:
    """A queue below a project below a top, with room for all."""
    top = InstanceFactory(name="top")
    many = {"max_concurrent_tasks": 10_000, "max_queued_tasks": 10_000}
    web = InstanceFactory(
        scope="PROJECT", parent=top, name="web", config={"capabilities": ["web"], **many}
    )
    instance: HopperInstance = InstanceFactory(
        scope="ORCHESTRATION", parent=web, name="run", config=many
    )
    return instance


def _post_at_once(environ: dict[str, str], secret: str, calls: list[Call]) -> list[list[Any]]:
    """Return, for every call, what each of the callers was answered: (status, body)."""
    answers = crowd(environ, "tests.concurrency.members:post_each", [(secret, calls)] * CALLERS)
    return [list(one) for one in zip(*answers, strict=True)]


def _leases(run: HopperInstance, number: int) -> list[tuple[str, str]]:
    for _ in range(number):
        TaskFactory(instance=run)
    leases = []
    while len(leases) < number:
        leases += claim_next(run.pk, worker="bob", limit=100, actor=ALICE).leases
    return [(lease.task.pk, lease.token) for lease in leases]


def test_one_task_is_created(
    child_environ: dict[str, str],
    storm: Callable[[int, int], int],
    secret: str,
    run: HopperInstance,
) -> None:
    rounds = storm(25, 500)
    body = {"instance_id": "top", "tags": ["web"], "complexity": 4}
    calls: list[Call] = [("/tasks", {"title": f"t{n}", **body}, f"k{n}") for n in range(rounds)]

    for step, answers in enumerate(_post_at_once(child_environ, secret, calls)):
        assert {status for status, _ in answers} == {201}
        assert {body["title"] for _, body in answers} == {f"t{step}"}
        assert len({body["id"] for _, body in answers}) == 1

    assert Task.objects.count() == rounds
    assert Event.objects.filter(kind="task.created").count() == rounds
    assert set(Task.objects.values_list("instance_id", flat=True)) == {run.pk}
    assert IdempotencyRecord.objects.count() == rounds
    assert unsound() == []


@pytest.mark.parametrize("keyed", [True, False])
def test_a_task_is_completed_once(
    child_environ: dict[str, str],
    storm: Callable[[int, int], int],
    secret: str,
    run: HopperInstance,
    keyed: bool,
) -> None:
    leases = _leases(run, storm(25, 500))
    calls: list[Call] = [
        (f"/tasks/{pk}/complete", {"token": token, "result": {"of": pk}}, pk if keyed else "")
        for pk, token in leases
    ]

    for (pk, _), answers in zip(leases, _post_at_once(child_environ, secret, calls), strict=True):
        assert {status for status, _ in answers} == {200}
        # Every answer, byte for byte; `updated_at` shows that nobody wrote again.
        assert all(body == answers[0][1] for _, body in answers)
        assert answers[0][1]["result"] == {"of": pk}

    endings = Event.objects.filter(ending=True).values_list("task_id", "instance_id")
    assert set(Counter(endings).values()) == {1}
    assert Task.objects.filter(status="done").count() == len(leases)
    assert unsound() == []


def test_of_two_requests_under_one_key_one_is_carried_out_and_the_other_refused(
    child_environ: dict[str, str],
    storm: Callable[[int, int], int],
    secret: str,
    run: HopperInstance,
) -> None:
    rounds = storm(15, 300)
    calls: list[list[Call]] = [
        [("/tasks", {"title": f"{who}{n}", "instance_id": run.pk}, f"k{n}") for n in range(rounds)]
        for who in range(CALLERS)
    ]

    answers = crowd(
        child_environ, "tests.concurrency.members:post_each", [(secret, own) for own in calls]
    )

    for one in zip(*answers, strict=True):
        assert sorted(status for status, _ in one) == [201, 422, 422, 422]
        refused = {body["code"] for status, body in one if status == 422}
        assert refused == {"idempotency_key_reused"}
    assert Task.objects.count() == rounds
    assert unsound() == []
