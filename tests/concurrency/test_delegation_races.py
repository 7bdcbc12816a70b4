"""Simultaneous offers, answers and reports on one task: exactly one wins."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import pytest

from delegation.delegator import Delegator
from delegation.models import TaskDelegation
from instances.models import Event, Task
from instances.tasks.worker import claim_next
from tests.concurrency.crowd import crowd
from tests.factories import ALICE, InstanceFactory, TaskFactory
from tests.soundness import unsound

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = [pytest.mark.postgres, pytest.mark.storm, pytest.mark.django_db(transaction=True)]

MEMBERS = "tests.concurrency.members"


def test_of_eight_simultaneous_delegates_one_offer_exists(
    child_environ: dict[str, str], storm: Callable[[int, int], int]
) -> None:
    top = InstanceFactory(name="top")
    targets = [InstanceFactory(scope="PROJECT", parent=top) for _ in range(8)]
    tasks = [TaskFactory(instance=top).pk for _ in range(storm(60, 1000))]

    outcomes = crowd(
        child_environ, f"{MEMBERS}:delegate_each", [(tasks, target.pk) for target in targets]
    )

    for round_ in zip(*outcomes, strict=True):
        assert Counter(round_) == {"ok": 1, "already_delegated": 7}
    assert TaskDelegation.objects.filter(status="pending").count() == len(tasks)
    assert set(Task.objects.values_list("instance_id", flat=True)) == {top.pk}
    assert unsound() == []


def test_accept_against_reject_has_one_winner(
    child_environ: dict[str, str], storm: Callable[[int, int], int]
) -> None:
    top = InstanceFactory(name="top")
    project = InstanceFactory(scope="PROJECT", parent=top, config={"max_queued_tasks": 5000})
    offers = [
        Delegator(ALICE).delegate_task(TaskFactory(instance=top).pk, project.pk).delegation.pk
        for _ in range(storm(60, 1000))
    ]

    outcomes = crowd(
        child_environ,
        f"{MEMBERS}:answer_each",
        [(offers, "accept"), (offers, "reject"), (offers, "accept"), (offers, "reject")],
    )

    for pk, round_ in zip(offers, zip(*outcomes, strict=True), strict=True):
        final = TaskDelegation.objects.get(pk=pk).status
        won, lost = (0, 1) if final == "accepted" else (1, 0)
        assert final in ("accepted", "rejected")
        assert round_[won::2] == ("ok", "ok")
        assert round_[lost::2] == ("invalid_transition", "invalid_transition")
    assert unsound() == []


def test_completed_by_eight_processes_at_once_it_is_completed_once(
    child_environ: dict[str, str], storm: Callable[[int, int], int]
) -> None:
    rounds = storm(60, 1000)
    top = InstanceFactory(name="top")
    project = InstanceFactory(
        scope="PROJECT", parent=top, config={"capabilities": ["x"], "max_queued_tasks": 5000}
    )
    run = InstanceFactory(
        scope="ORCHESTRATION",
        parent=project,
        config={"max_concurrent_tasks": 5000, "max_queued_tasks": 5000},
    )
    for _ in range(rounds):
        TaskFactory(instance=top, tags=["x"], complexity=5)
    leases = []
    while len(leases) < rounds:
        leases += claim_next(run.pk, worker="bob", limit=100, actor=ALICE).leases
    tokens = [(lease.task.pk, lease.token) for lease in leases]

    outcomes = crowd(
        child_environ, f"{MEMBERS}:complete_each", [(tokens, mark) for mark in range(8)]
    )

    assert {code for member in outcomes for code in member} == {"ok"}
    for task_id, _ in tokens:
        endings = Event.objects.filter(task_id=task_id, kind="task.done")
        places = Counter(endings.values_list("instance_id", flat=True))
        assert places == {top.pk: 1, project.pk: 1, run.pk: 1}
    assert unsound() == []
