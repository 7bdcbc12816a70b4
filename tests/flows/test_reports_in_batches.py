"""Many reports in one call end each task as a call of its own would (R17, R20, R21, R22)."""

from __future__ import annotations

import random
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from hopper.database.functions import Function
from hopper.errors import HopperError
from instances.choices import TaskStatus as T
from instances.lifecycle.actions import pause_instance
from instances.models import Attempt, InstanceLoad, Task
from instances.tasks import batches, worker
from instances.tasks.batches import Done, complete_and_claim, complete_tasks
from instances.tasks.creating import NewTask
from instances.tasks.decomposing import create_children
from instances.tasks.worker import claim_next, claim_task, complete_task
from tests.factories import ALICE, InstanceFactory, TaskFactory
from tests.flows.rows import Copy
from tests.flows.test_many_at_once import outcome

if TYPE_CHECKING:
    from instances.models import HopperInstance

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("sound")]


def _run(**config: Any) -> HopperInstance:
    top = InstanceFactory(name="top")
    web = InstanceFactory(scope="PROJECT", parent=top)
    made: HopperInstance = InstanceFactory(scope="ORCHESTRATION", parent=web, config=config)
    return made


def _claimed(run: HopperInstance, number: int) -> list[Done]:
    """Return the reports on so many new, claimed tasks."""
    tasks = [TaskFactory(instance=run) for _ in range(number)]
    leases = [claim_task(task.pk, worker="w", actor=ALICE) for task in tasks]
    return [Done(one.task.pk, one.token, {"n": n}) for n, one in enumerate(leases)]


def _codes(verdicts: list[batches.Verdict]) -> list[str | None]:
    return [one.refusal.code if one.refusal else one.status for one in verdicts]


def test_each_report_is_answered_on_its_own() -> None:
    good, foreign, ended = _claimed(_run(), 3)
    complete_task(ended.task_id, token=ended.token, result="first", actor=ALICE)
    reports = [
        Done("task-none", "1.x", 1),
        good,
        Done(foreign.task_id, good.token, 2),
        Done(ended.task_id, ended.token, "other"),
        Done(ended.task_id, ended.token, "first"),
        good,
    ]
    verdicts = complete_tasks(reports, actor=ALICE)
    assert _codes(verdicts) == ["not_found", "done", "lease_lost", "already_ended", "done", "done"]
    assert Task.objects.get(pk=good.task_id).result == good.result
    assert Task.objects.get(pk=foreign.task_id).status == T.CLAIMED
    # The refused result of an ended lease is kept with its attempt.
    assert Attempt.objects.get(task=ended.task_id).artifact == "other"


def test_a_batch_ends_tasks_as_single_calls_do(monkeypatch: pytest.MonkeyPatch) -> None:
    run = _run(max_concurrent_tasks=50)
    plain = _claimed(run, 4)
    parent = TaskFactory(instance=run)
    plan = [NewTask(name) for name in "abc"]
    made = create_children(parent.pk, plan, terms={}, actor=ALICE)
    family = [
        Done(one.task.pk, one.token, one.task.title)
        for one in (claim_task(child.pk, worker="w", actor=ALICE) for child in made.children)
    ]
    placed = TaskFactory(instance=run.parent.parent, tags=["x"], project=run.parent.name)
    offered = [*plain, *family, Done("task-none"), Done(placed.pk, "9.none", 1), plain[0]]
    random.Random(5).shuffle(offered)
    moment = batches.database.now()
    monkeypatch.setattr(batches.database, "now", lambda: moment)
    # A function reads the clock itself.
    monkeypatch.setattr(Function, "is_kept", lambda function: False)
    before = Copy()
    told: list[list[str | None]] = [[], []]

    def alone() -> None:
        for report in offered:
            try:
                token, result = report.token, report.result
                found = complete_task(report.task_id, token=token, result=result, actor=ALICE)
                told[0].append(found.status)
            except HopperError as refusal:
                told[0].append(refusal.code)

    rows = outcome(alone)
    before.put_back()
    together = outcome(lambda: told[1].extend(_codes(complete_tasks(offered, actor=ALICE))))
    assert told[1] == told[0]
    assert together == rows
    assert Task.objects.get(pk=parent.pk).status == T.DONE


def test_one_call_ends_a_task_and_claims_the_next_in_its_place() -> None:
    run = _run(max_concurrent_tasks=1)
    (first,) = _claimed(run, 1)
    following = TaskFactory(instance=run)
    assert (claim_next(run.pk, worker="w", actor=ALICE).waiting or {})["code"] == "AtCapacity"
    verdicts, claim = complete_and_claim([first], run.pk, worker="w", actor=ALICE)
    assert _codes(verdicts) == ["done"]
    assert [one.task.pk for one in claim.leases] == [following.pk]
    assert InstanceLoad.objects.get(pk=run.pk).running == 1


def test_the_reports_count_where_nothing_can_be_claimed() -> None:
    run = _run()
    other = InstanceFactory(scope="ORCHESTRATION", parent=run.parent)
    reports = _claimed(run, 2)
    verdicts, claim = complete_and_claim(reports[:1], other.pk, worker="w", actor=ALICE)
    assert (_codes(verdicts), (claim.waiting or {})["code"]) == (["done"], "Empty")
    pause_instance(run.pk, actor=ALICE)
    verdicts, claim = complete_and_claim(reports[1:], run.pk, worker="w", actor=ALICE)
    assert (_codes(verdicts), claim.leases) == (["done"], [])
    assert "paused" in (claim.waiting or {})["detail"]


def test_a_claim_with_reports_does_not_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    run = _run()
    reports = _claimed(run, 1)
    TaskFactory(instance=run)
    monkeypatch.setattr(worker, "complete_and_grant", lambda *_: None)
    monkeypatch.setattr(worker, "grant_at_once", lambda *_: [])
    monkeypatch.setattr(worker, "grant", lambda *_: [])
    monkeypatch.setattr(worker, "why_nothing", lambda *_: None)
    monkeypatch.setattr(worker.time, "sleep", lambda _: pytest.fail("slept with locks"))
    _, claim = complete_and_claim(reports, run.pk, worker="w", actor=ALICE)
    assert (claim.waiting or {})["code"] == "NothingReady"


def test_a_hundred_reports_need_as_many_statements_as_ten(
    django_assert_max_num_queries: Any,
) -> None:
    run = _run(max_concurrent_tasks=200)
    for number in (10, 100):
        reports = [replace(one, result="alike") for one in _claimed(run, number)]
        with django_assert_max_num_queries(20):
            complete_tasks(reports, actor=ALICE)
