"""Cancelled at the top while others add to it, finish in it and answer in it: all of it ends."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import pytest

from delegation.models import TaskDelegation
from instances.models import Task
from instances.tasks.worker import claim_task
from tests.concurrency.crowd import crowd
from tests.factories import ALICE, InstanceFactory, TaskFactory
from tests.soundness import unsound

if TYPE_CHECKING:
    from collections.abc import Callable

    from instances.models import HopperInstance

pytestmark = [pytest.mark.postgres, pytest.mark.storm, pytest.mark.django_db(transaction=True)]

ROLES = ("cancel", "add", "add below", "complete", "accept")


def _family(web: HopperInstance, run: HopperInstance) -> dict[str, str]:
    """Make three levels with running, waiting, offered, decomposed and abandoned children."""
    parent = TaskFactory(instance=web)
    running = TaskFactory(parent_id=parent.pk, instance=run)
    claim_task(running.pk, worker="bob", actor=ALICE)
    TaskFactory(parent_id=parent.pk, depends_on=[running.pk])
    offered = TaskFactory(parent_id=parent.pk, complexity=5, executor_preference="orchestration")
    middle = TaskFactory(parent_id=parent.pk, instance=run)
    for _ in range(2):
        TaskFactory(parent_id=middle.pk)
    abandoned = TaskFactory(parent_id=parent.pk, instance=run, on_parent_close="abandon")
    grandchild = TaskFactory(parent_id=abandoned.pk)
    TaskFactory(parent_id=abandoned.pk)
    lease = claim_task(grandchild.pk, worker="eve", actor=ALICE)
    return {
        "parent": parent.pk,
        "middle": middle.pk,
        "abandoned": abandoned.pk,
        "grandchild": grandchild.pk,
        "token": lease.token,
        "offer": TaskDelegation.objects.get(task=offered, status="pending").pk,
    }


def test_a_child_added_at_that_moment_ends_too_and_abandoned_ones_go_on(
    child_environ: dict[str, str], storm: Callable[[int, int], int]
) -> None:
    web = InstanceFactory(scope="PROJECT", name="web")
    plenty = {"max_concurrent_tasks": 9999, "max_queued_tasks": 9999}
    manual = {**plenty, "accept": "manual"}
    InstanceFactory(scope="ORCHESTRATION", parent=web, name="picky", config=manual)
    run = InstanceFactory(scope="ORCHESTRATION", parent=web, name="run", config=manual)
    families = [_family(web, run) for _ in range(storm(12, 1000))]

    outcomes = crowd(
        child_environ,
        "tests.concurrency.members:meet_each",
        [(role, families) for role in ROLES],
    )

    said = {role: Counter(codes) for role, codes in zip(ROLES, outcomes, strict=True)}
    assert said["cancel"] == said["add below"] == said["complete"] == {"ok": len(families)}
    assert set(said["add"]) <= {"ok", "parent_closed"}
    assert set(said["accept"]) <= {"ok", "invalid_transition"}
    added = 0
    for one in families:
        tree = Task.objects.filter(root=one["parent"])
        assert set(tree.values_list("status", flat=True)) == {"cancelled"}
        added += tree.filter(key="late").count()
        loose = Task.objects.get(pk=one["abandoned"])
        assert (loose.status, loose.parent_id, loose.root_id) == ("in_progress", None, loose.pk)
        below = dict(Task.objects.filter(root=loose).values_list("pk", "status"))
        assert Counter(below.values()) == {"in_progress": 1, "done": 1, "pending": 2}
        assert below[one["grandchild"]] == "done"
    assert added == said["add"]["ok"]
    assert not TaskDelegation.objects.open().filter(task__status="cancelled").exists()
    assert unsound() == []
