"""A function of the database writes the same rows as the general code, on every scenario (R17)."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
from django.core.management.sql import emit_post_migrate_signal
from django.db import connection

from delegation.delegator import Delegator, decompose_task
from delegation.models import TaskDelegation
from delegation.placing import reroute_task
from delegation.sweep import sweep
from hopper.database import engine, functions
from hopper.database.functions import Function
from hopper.errors import LeaseLost
from instances.lifecycle.actions import pause_instance, stop_instance
from instances.models import Attempt, Event, HopperInstance, Task
from instances.tasks.batches import Done, complete_and_claim, complete_tasks
from instances.tasks.claim_sql import claiming
from instances.tasks.complete_sql import completing
from instances.tasks.create_sql import creating
from instances.tasks.creating import NewTask
from instances.tasks.next_sql import completing_and_claiming
from instances.tasks.reopening import reopen_task
from instances.tasks.worker import (
    claim_next,
    complete_task,
    fail_task,
    heartbeat,
    release_task,
    start_task,
)
from instances.tree.shape import describe_instance
from scopes.models import RoutingDecision
from tests.factories import ALICE, InstanceFactory, TaskFactory
from tests.flows.rows import Copy, Rows, everything

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.usefixtures("sound"),
    pytest.mark.skipif("not engine().keeps_functions", reason="this database keeps none"),
]
assert engine

WORKING: dict[str, Any] = {"worker": "w", "actor": ALICE}
Scenario = Callable[[HopperInstance, HopperInstance], None]
"""What is done at the root of the tree and at its run."""

OTHER = ("pk", "id", "position", "elapsed_ms")
"""The columns in which equal runs differ."""
_ID = re.compile(r"\b[a-z]{1,4}-[0-9a-f]{20,}\b|\b\d{1,9}\.[\w-]{24}\b")
_MOMENT = re.compile(r"\d{4}-\d\d-\d\d[T ][\d:.]+(\+00:00)?")


def claim(run: HopperInstance, **more: Any) -> Any:
    """Return the one lease that the claim gives."""
    (lease,) = claim_next(run.pk, **WORKING, **more).leases
    return lease


def done(run: HopperInstance, result: Any = None) -> Task:
    """Claim a task and complete it."""
    lease = claim(run)
    return complete_task(lease.task.pk, token=lease.token, result=result, actor=ALICE)


def at_the_run(top: HopperInstance, run: HopperInstance) -> None:
    """Two tasks that were made at the run."""
    for result in (None, {"b": [1.5, None, "ä"], "a": 1e2}):
        TaskFactory(instance=run)
        done(run, result)


def all_the_way_down(top: HopperInstance, run: HopperInstance) -> None:
    """A task that was routed from the root, with the hops of its way."""
    TaskFactory(instance=top, project="web", executor_preference="orchestration")
    sweep()
    done(run, "text")


def several_at_once(top: HopperInstance, run: HopperInstance) -> None:
    """A claim of many; one is started and reports a checkpoint, two are given back or fail."""
    for priority in ("low", "urgent", "medium", "high"):
        TaskFactory(instance=run, priority=priority)
    leases = claim_next(run.pk, limit=3, **WORKING).leases
    started, released, failed = leases
    start_task(started.task.pk, token=started.token, actor=ALICE)
    heartbeat(started.task.pk, token=started.token, checkpoint={"step": 2}, actor=ALICE)
    release_task(released.task.pk, token=released.token, actor=ALICE)
    fail_task(failed.task.pk, token=failed.token, error="no", actor=ALICE)
    complete_task(started.task.pk, token=started.token, result=[0], actor=ALICE)
    # The attempt goes on from the checkpoint of the one before.
    done(run)


def a_family(top: HopperInstance, run: HopperInstance) -> None:
    """The end of a parent by its children."""
    parent = TaskFactory(instance=run)
    decompose_task(parent.pk, [NewTask(title="a"), NewTask(title="b")], actor=ALICE)
    for _ in range(2):
        done(run)


def a_successor(top: HopperInstance, run: HopperInstance) -> None:
    """A task that waits for another."""
    first = TaskFactory(instance=run)
    TaskFactory(instance=run, depends_on=[first.pk])
    for _ in range(2):
        done(run)


def the_second_epoch(top: HopperInstance, run: HopperInstance) -> None:
    """A task that was opened again."""
    TaskFactory(instance=run)
    reopen_task(done(run).pk, actor=ALICE)
    done(run)


def reports_with_the_next_claim(top: HopperInstance, run: HopperInstance) -> None:
    """A report with the next claim, at the instance of the task and at another one."""
    other = InstanceFactory(scope="ORCHESTRATION", name="other", id="other", parent=run.parent)
    for _ in range(3):
        TaskFactory(instance=run)
    first = claim(run)
    _, second = complete_and_claim([Done(first.task.pk, first.token, 1)], run.pk, **WORKING)
    (lease,) = second.leases
    complete_and_claim([Done(lease.task.pk, lease.token, 2)], other.pk, **WORKING)
    last = claim(run)
    complete_and_claim([Done(last.task.pk, last.token)], run.pk, **WORKING)


def a_full_queue_goes_on(top: HopperInstance, run: HopperInstance) -> None:
    """Reports with the next claims, at an instance with as many leases as it may have."""
    run.config = {"max_concurrent_tasks": 2}
    run.save()
    for n in range(5):
        TaskFactory(instance=run, priority="high" if n == 4 else "low")
    leases = claim_next(run.pk, limit=2, **WORKING).leases
    reports = [Done(one.task.pk, one.token) for one in leases]
    _, claimed = complete_and_claim(reports, run.pk, limit=2, **WORKING)
    heartbeat(claimed.leases[0].task.pk, token=claimed.leases[0].token, checkpoint=1, actor=ALICE)
    reports = [Done(one.task.pk, one.token) for one in claimed.leases[:1]]
    complete_and_claim(reports, run.pk, limit=2, **WORKING)


def a_batch(top: HopperInstance, run: HopperInstance) -> None:
    """Reports on plain tasks at two instances, one of them routed, with a refused one between."""
    other = InstanceFactory(scope="ORCHESTRATION", name="other", id="a", parent=run.parent)
    TaskFactory(instance=top, project="web", executor_preference="orchestration")
    sweep()
    TaskFactory(instance=other)
    for _ in range(3):
        TaskFactory(instance=run)
    leases = [*claim_next(run.pk, limit=4, **WORKING).leases, claim(other)]
    release_task(leases[1].task.pk, token=leases[1].token, actor=ALICE)
    reports = [Done(one.task.pk, one.token, n or None) for n, one in enumerate(leases)]
    complete_tasks([*reports, reports[0]], actor=ALICE)


def a_batch_with_a_child(top: HopperInstance, run: HopperInstance) -> None:
    """Reports with the next claim, of which one ends a family and one a task opened again."""
    TaskFactory(instance=run)
    reopen_task(done(run).pk, actor=ALICE)
    parent = TaskFactory(instance=run)
    decompose_task(parent.pk, [NewTask(title="a")], actor=ALICE)
    for _ in range(3):
        TaskFactory(instance=run)
    leases = claim_next(run.pk, limit=4, **WORKING).leases
    reports = [Done(one.task.pk, one.token, "x") for one in leases]
    complete_and_claim(reports, run.pk, limit=2, **WORKING)


def by_capability(top: HopperInstance, run: HopperInstance) -> None:
    """Claims of workers with capabilities, past the tasks that need others."""
    for needed in (["gpu"], ["web", "Shell"], [], ["web"], ["x" * 200, "y" * 200, "z" * 200]):
        TaskFactory(instance=run, required_capabilities=needed)
    able = ["shell", "WEB", "x" * 200, "y" * 200, "z" * 200]
    assert len(claim_next(run.pk, limit=9, capabilities=able, **WORKING).leases) == 4
    assert claim_next(run.pk, capabilities=[], **WORKING).leases == []
    assert claim(run, capabilities=["gpu"]).task.required_capabilities == ["gpu"]


def a_stop(top: HopperInstance, run: HopperInstance) -> None:
    """The last lease of a stopping instance."""
    TaskFactory(instance=run)
    lease = claim(run)
    stop_instance(run.pk, actor=ALICE)
    complete_task(lease.task.pk, token=lease.token, actor=ALICE)


def of_every_kind(top: HopperInstance, run: HopperInstance) -> None:
    """Tasks with all that a task may say, some not to be begun yet."""
    later = datetime(2999, 1, 1, tzinfo=UTC)
    words: dict[str, Any] = {"description": 'a "b" \\u0001 %s ä', "context": {"k": [1e2, None]}}
    for priority in ("low", "urgent"):
        TaskFactory(instance=run, priority=priority, tags=["Ü", "b"], due_at=later, **words)
    TaskFactory(instance=run, not_before=later, required_capabilities=["x"], unique_key="k")
    TaskFactory(instance=run, unique_key="k")
    TaskFactory(instance=None)
    done(run)


def to_the_best(top: HopperInstance, run: HopperInstance) -> None:
    """Tasks that choose between projects, of which one pauses and one is full."""
    more = {"capabilities": ["x"], "max_queued_tasks": 1}
    small = InstanceFactory(scope="PROJECT", name="small", id="small", parent=top, config=more)
    for _ in range(3):
        TaskFactory(instance=top, tags=["x"], complexity=1)
    pause_instance(small.pk, actor=ALICE)
    TaskFactory(instance=top, tags=["x"], complexity=5)
    TaskFactory(instance=top, project="web", complexity=5)
    done(run)


def asked_again(top: HopperInstance, run: HopperInstance) -> None:
    """A task that was refused, one that a person accepts, and one that begins anew."""
    describe_instance(run.pk, changes={"config": {"accept": "manual"}}, actor=ALICE)
    task = TaskFactory(instance=top, project="web", complexity=5)
    offer = TaskDelegation.objects.get(task=task, status="pending")
    Delegator(ALICE).reject_delegation(offer.pk, reason="no")
    describe_instance(run.pk, changes={"config": {}}, actor=ALICE)
    reroute_task(task.pk, actor=ALICE)
    done(run)


SCENARIOS = [
    of_every_kind,
    to_the_best,
    asked_again,
    at_the_run,
    all_the_way_down,
    several_at_once,
    a_family,
    a_successor,
    reports_with_the_next_claim,
    a_full_queue_goes_on,
    the_second_epoch,
    a_batch,
    a_batch_with_a_child,
    by_capability,
    a_stop,
]
WITHOUT_A_PLAIN_END = (a_family, by_capability, asked_again)


HOPPING = (all_the_way_down, to_the_best, asked_again)
"""The scenarios in which a task moves down."""
RESTING = (to_the_best,)
"""The scenarios in which a task rests on its way."""


def rows_of(scenario: Scenario) -> list[str]:
    """Return all rows that a scenario leaves, without ids and moments, each as a line."""
    before = Copy()
    TaskFactory.reset_sequence(0, force=True)
    top = InstanceFactory(name="top", id="top")
    web = InstanceFactory(scope="PROJECT", name="web", id="web", parent=top)
    run = InstanceFactory(scope="ORCHESTRATION", name="run", id="run", parent=web)
    # The first claim reads the queue; the next ones may take the short way.
    claim_next(run.pk, **WORKING)
    scenario(top, run)
    rows = told_of(everything())
    before.put_back()
    return rows


def told_of(rows: Rows) -> list[str]:
    """Return the rows as lines in which an id is the number of its first mention."""
    known: dict[str, str] = {}

    def number(found: re.Match[str]) -> str:
        return known.setdefault(found.group(), f"id{len(known)}")

    lines = []
    for (label, _), row in sorted(rows.items(), key=_order):
        values = {name: value for name, value in row.items() if name not in OTHER}
        lines.append(f"{label} {values!r}")
    return [_MOMENT.sub("then", _DATETIME.sub("then", _ID.sub(number, line))) for line in lines]


_DATETIME = re.compile(r"datetime\.datetime\([^)]*\)")


def _order(item: tuple[tuple[str, str], dict[str, Any]]) -> tuple[Any, ...]:
    (label, pk), row = item
    made = row.get("created_at") or row.get("delegated_at") or row.get("started_at")
    return (label, str(made or ""), int(pk) if pk.isdigit() else 0, pk)


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The title of the function for each row that a call returned."""
    found: list[str] = []
    call = Function.call

    def noted(function: Function, *args: Any, **values: Any) -> Any:
        rows = call(function, *args, **values)
        found.extend([function.title] * len(rows))
        return rows

    monkeypatch.setattr(Function, "call", noted)
    return found


@pytest.fixture
def _later_columns() -> Iterator[None]:
    """A column with a default in each table that the functions write, as a later release adds."""
    tables = [one._meta.db_table for one in (Task, TaskDelegation, RoutingDecision, Event, Attempt)]
    with connection.cursor() as cursor:
        for table in tables:
            cursor.execute(f"ALTER TABLE {table} ADD COLUMN later integer NOT NULL DEFAULT 7")
    yield
    with connection.cursor() as cursor:
        for table in tables:
            cursor.execute(f"ALTER TABLE {table} DROP COLUMN later")


@pytest.mark.usefixtures("_later_columns")
def test_columns_that_a_later_release_adds_get_their_defaults(calls: list[str]) -> None:
    top = InstanceFactory()
    web = InstanceFactory(scope="PROJECT", name="web", parent=top)
    run = InstanceFactory(scope="ORCHESTRATION", parent=web)
    TaskFactory(instance=run)
    TaskFactory(instance=top, project="web", executor_preference="orchestration")
    TaskFactory(instance=top)
    # The first claim reads the queue; the next one takes the short way.
    done(run)
    done(run)
    assert {"create", "hop", "rest", "claim", "complete"} <= set(calls)
    with connection.cursor() as cursor:
        for model in (Task, TaskDelegation, RoutingDecision):
            cursor.execute(f"SELECT DISTINCT later FROM {model._meta.db_table}")
            assert cursor.fetchall() == [(7,)]


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.__name__)
def test_both_ways_leave_the_same_rows(
    scenario: Scenario, calls: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    short = rows_of(scenario)
    assert "create" in calls
    assert {"claim", "next"} & set(calls)
    assert "hop" in calls or scenario not in HOPPING
    assert "rest" in calls or scenario not in RESTING
    ends = {"complete", "next"} & set(calls)
    assert bool(ends) == (scenario not in WITHOUT_A_PLAIN_END)
    monkeypatch.setattr(Function, "is_kept", lambda function: False)
    calls.clear()
    general = rows_of(scenario)
    if scenario is a_batch_with_a_child:
        # The plain ones end first.
        short, general = sorted(short), sorted(general)
    assert [pair for pair in zip(short, general, strict=True) if pair[0] != pair[1]] == []
    assert not calls


def test_a_database_without_the_functions_is_served(monkeypatch: pytest.MonkeyPatch) -> None:
    project = InstanceFactory(scope="PROJECT", parent=InstanceFactory())
    run = InstanceFactory(scope="ORCHESTRATION", parent=project)
    TaskFactory(instance=run)
    claim_next(run.pk, **WORKING)
    with connection.cursor() as cursor:
        for function in (claiming(), completing(), completing_and_claiming()):
            cursor.execute(f"DROP FUNCTION {function.name}")
    monkeypatch.setattr(functions, "_seen", set())
    try:
        TaskFactory(instance=run)
        assert done(run, "result").status == "done"
    finally:
        functions.store(claiming(), completing(), completing_and_claiming())


def test_migrating_only_some_apps_stores_no_function() -> None:
    with connection.cursor() as cursor:
        cursor.execute(f"DROP FUNCTION {creating().name}")
        cursor.execute(f"ALTER TABLE {RoutingDecision._meta.db_table} RENAME TO elsewhere")
        try:
            emit_post_migrate_signal(0, interactive=False, db="default")
            cursor.execute("SELECT to_regproc(%s)", [creating().name])
            assert cursor.fetchone() == (None,)
        finally:
            cursor.execute(f"ALTER TABLE elsewhere RENAME TO {RoutingDecision._meta.db_table}")
            functions.store(creating())


def test_the_token_of_an_earlier_attempt_completes_nothing() -> None:
    project = InstanceFactory(scope="PROJECT", parent=InstanceFactory())
    run = InstanceFactory(scope="ORCHESTRATION", parent=project)
    task = TaskFactory(instance=run)
    first = claim(run)
    release_task(task.pk, token=first.token, actor=ALICE)
    second = claim(run)
    with pytest.raises(LeaseLost):
        complete_task(task.pk, token=first.token, actor=ALICE)
    assert complete_task(task.pk, token=second.token, actor=ALICE).status == "done"


def test_a_claim_sees_settings_that_another_process_has_changed() -> None:
    project = InstanceFactory(scope="PROJECT", parent=InstanceFactory())
    run = InstanceFactory(scope="ORCHESTRATION", parent=project)
    for _ in range(3):
        TaskFactory(instance=run)
    claim(run)
    claim(run)
    HopperInstance.objects.filter(pk=run.pk).update(config={"max_concurrent_tasks": 2})
    refused = claim_next(run.pk, **WORKING)
    assert refused.waiting is not None
    assert (refused.leases, refused.waiting["code"]) == ([], "AtCapacity")
