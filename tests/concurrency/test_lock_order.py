"""Capacity counters come last, so that whoever ends work never waits in a circle (R6)."""

from __future__ import annotations

import threading
import time
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest
from django.db import connection, transaction
from django.utils import timezone

from delegation.delegator import Delegator
from delegation.sweep import sweep
from hopper.database import lock_row, lock_rows
from hopper.errors import RuleBroken
from instances.lifecycle.actions import terminate_instance
from instances.lifecycle.closing import close_instance
from instances.models import HopperInstance, InstanceLoad, Task
from instances.tasks.batches import Done, complete_tasks
from instances.tasks.creating import NewTask, create_task, create_tasks
from instances.tasks.decomposing import create_children
from instances.tasks.editing import update_task
from instances.tasks.ending import cancel_task
from instances.tasks.status_by_hand import set_status
from instances.tasks.worker import claim_task, complete_task, fail_task
from instances.tree.locks import lock_trees
from tests.concurrency.waiting import until_it_waits
from tests.factories import ALICE, InstanceFactory, TaskFactory
from tests.soundness import unsound

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = [pytest.mark.postgres, pytest.mark.django_db(transaction=True)]
HELD_SECONDS = 0.7
"""Less than the second after which PostgreSQL looks for a deadlock."""


def _ignore(_: object) -> None:
    """Make a step of a call whose answer does not matter."""


def _beside(
    first: Callable[[], None], second: Callable[[], None], then: Callable[[], None]
) -> None:
    """Run `first`, and while its transaction is open `second`, in another thread; then `then`."""
    failures: list[BaseException] = []
    with transaction.atomic():
        first()
        thread = _thread(second, failures)
        until_it_waits(thread)
        then()
    thread.join(timeout=60)
    assert not thread.is_alive()
    assert failures == []


def _thread(act: Callable[[], None], failures: list[BaseException]) -> threading.Thread:
    """Start `act` in a thread of its own; what it raises is added to `failures`."""

    def run() -> None:
        try:
            act()
        except BaseException as failure:
            failures.append(failure)
        finally:
            connection.close()

    thread = threading.Thread(target=run)
    thread.start()
    return thread


def test_a_lost_lease_waits_for_its_siblings_before_the_counter() -> None:
    run = InstanceFactory(scope="ORCHESTRATION", parent=InstanceFactory(scope="PROJECT"))
    parent = TaskFactory(instance=run)
    lost = TaskFactory(parent_id=parent.pk, instance=run, max_attempts=1)
    sibling = TaskFactory(parent_id=parent.pk, instance=run)
    claim_task(lost.pk, worker="bob", actor=ALICE)
    Task.objects.filter(pk=lost.pk).update(lease_expires_at=timezone.now() - timedelta(seconds=1))
    _beside(
        lambda: _ignore(lock_row(Task, sibling.pk)),
        lambda: _ignore(sweep()),
        lambda: _ignore(lock_row(InstanceLoad, run.pk)),
    )
    assert Task.objects.get(pk=lost.pk).status == "failed"
    assert unsound() == []


def test_several_counters_are_taken_in_the_order_of_their_ids() -> None:
    web = InstanceFactory(scope="PROJECT")
    first, second = (
        InstanceFactory(scope="ORCHESTRATION", parent=web, name=name) for name in ("a", "b")
    )
    parent = TaskFactory(instance=web)
    for run in (second, first):
        child = TaskFactory(parent_id=parent.pk, instance=run)
        claim_task(child.pk, worker="bob", actor=ALICE)
    _beside(
        lambda: _ignore(lock_row(InstanceLoad, first.pk)),
        lambda: _ignore(cancel_task(parent.pk, actor=ALICE)),
        lambda: _ignore(lock_row(InstanceLoad, second.pk)),
    )
    assert unsound() == []


def test_counters_are_taken_in_the_order_of_bytes_where_the_database_has_another() -> None:
    web = InstanceFactory(scope="PROJECT")
    ids = ["a-b", "a_b"]
    for pk in ids:
        InstanceFactory(scope="ORCHESTRATION", parent=web, name=pk, id=pk)
    table = InstanceLoad._meta.db_table
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SELECT 1 FROM pg_collation WHERE collname = 'en-x-icu'")
        if cursor.fetchone() is None:
            pytest.skip("this server knows no other order")
        cursor.execute(f'ALTER TABLE {table} ALTER instance_id TYPE varchar COLLATE "en-x-icu"')
        by_database = InstanceLoad.objects.filter(pk__in=ids).order_by("pk")
        assert [load.pk for load in by_database] == ids[::-1]
        assert list(lock_rows(InstanceLoad, ids)) == ids
        transaction.set_rollback(True)


def test_counters_of_a_family_that_falls_by_one_of_its_ends_are_taken_in_order() -> None:
    web = InstanceFactory(scope="PROJECT")
    first, second, third = (
        InstanceFactory(scope="ORCHESTRATION", parent=web, name=name) for name in "abc"
    )
    top = TaskFactory(instance=web, failure_policy="fail_fast")
    for run in (second, first):
        claim_task(TaskFactory(parent_id=top.pk, instance=run).pk, worker="bob", actor=ALICE)
    parent = TaskFactory(parent_id=top.pk, instance=web)
    lost, last = (TaskFactory(parent_id=parent.pk, instance=run) for run in (third, first))
    token = claim_task(lost.pk, worker="bob", actor=ALICE).token
    fail_task(lost.pk, token=token, retryable=False, actor=ALICE)
    token = claim_task(last.pk, worker="bob", actor=ALICE).token
    _beside(
        lambda: _ignore(lock_row(InstanceLoad, first.pk)),
        lambda: _ignore(complete_task(last.pk, token=token, actor=ALICE)),
        lambda: _ignore(lock_row(InstanceLoad, second.pk)),
    )
    assert set(Task.objects.open()) == set()
    assert unsound() == []


def test_counters_of_a_run_that_is_closed_are_taken_in_order() -> None:
    run = InstanceFactory(
        scope="ORCHESTRATION", parent=InstanceFactory(scope="PROJECT"), instance_type="ephemeral"
    )
    first, second = (InstanceFactory(scope="ORCHESTRATION", parent=run, name=name) for name in "ab")
    for phase in (second, first):
        claim_task(TaskFactory(instance=phase).pk, worker="bob", actor=ALICE)
    _beside(
        lambda: _ignore(lock_row(InstanceLoad, first.pk)),
        lambda: _ignore(close_instance(run.pk, force=True, actor=ALICE)),
        lambda: _ignore(lock_row(InstanceLoad, second.pk)),
    )
    assert set(Task.objects.open()) == set()
    assert unsound() == []


def test_counters_of_a_run_that_is_closed_are_taken_at_once_with_those_it_bars() -> None:
    run = InstanceFactory(
        scope="ORCHESTRATION", parent=InstanceFactory(scope="PROJECT"), instance_type="ephemeral"
    )
    idle, busy = (InstanceFactory(scope="ORCHESTRATION", parent=run, name=name) for name in "ab")
    claim_task(TaskFactory(instance=busy).pk, worker="bob", actor=ALICE)
    _beside(
        lambda: _ignore(lock_row(InstanceLoad, idle.pk)),
        lambda: _ignore(close_instance(run.pk, force=True, actor=ALICE)),
        lambda: _ignore(lock_row(InstanceLoad, busy.pk)),
    )
    assert set(Task.objects.open()) == set()
    assert unsound() == []


def test_a_run_that_is_closed_takes_the_trees_offered_to_it_before_the_counters() -> None:
    web = InstanceFactory(scope="PROJECT")
    run = InstanceFactory(
        scope="ORCHESTRATION",
        parent=web,
        instance_type="ephemeral",
        config={"accept": "manual"},
    )
    other = InstanceFactory(scope="ORCHESTRATION", parent=web)
    family = TaskFactory(instance=web)
    TaskFactory(parent_id=family.pk, instance=run)
    relative = TaskFactory(parent_id=family.pk, instance=other)
    claim_task(relative.pk, worker="bob", actor=ALICE)
    offered = TaskFactory(instance=web)
    Delegator(ALICE).delegate_task(offered.pk, run.pk)
    _beside(
        lambda: _ignore(lock_row(Task, offered.pk)),
        lambda: _ignore(close_instance(run.pk, force=True, actor=ALICE)),
        lambda: _ignore(lock_row(InstanceLoad, other.pk)),
    )
    assert Task.objects.get(pk=offered.pk).offered_to_id is None
    assert unsound() == []


def test_the_leases_of_several_parents_are_given_back_in_the_order_of_the_counters() -> None:
    web = InstanceFactory(scope="PROJECT")
    first, second = (InstanceFactory(scope="ORCHESTRATION", parent=web, name=name) for name in "ab")
    parents = [TaskFactory(instance=run) for run in (second, first)]
    for parent in parents:
        claim_task(parent.pk, worker="bob", actor=ALICE)
    children = [NewTask("c", parent_id=parent.pk) for parent in parents]
    _beside(
        lambda: _ignore(lock_row(InstanceLoad, first.pk)),
        lambda: _ignore(create_tasks(children, actor=ALICE)),
        lambda: _ignore(lock_row(InstanceLoad, second.pk)),
    )
    assert unsound() == []


def test_counters_of_a_family_whose_last_task_is_taken_from_its_worker_are_taken_in_order() -> None:
    web = InstanceFactory(scope="PROJECT")
    first, second, third = (
        InstanceFactory(scope="ORCHESTRATION", parent=web, name=name) for name in "abc"
    )
    top = TaskFactory(instance=web, failure_policy="fail_fast")
    claim_task(TaskFactory(parent_id=top.pk, instance=first).pk, worker="bob", actor=ALICE)
    parent = TaskFactory(parent_id=top.pk, instance=web)
    lost, last = (TaskFactory(parent_id=parent.pk, instance=run) for run in (third, second))
    token = claim_task(lost.pk, worker="bob", actor=ALICE).token
    fail_task(lost.pk, token=token, retryable=False, actor=ALICE)
    claim_task(last.pk, worker="bob", actor=ALICE)
    _beside(
        lambda: _ignore(lock_row(InstanceLoad, first.pk)),
        lambda: _ignore(set_status(last.pk, status="done", force=True, actor=ALICE)),
        lambda: _ignore(lock_row(InstanceLoad, second.pk)),
    )
    assert set(Task.objects.open()) == set()
    assert unsound() == []


def test_a_dependant_made_before_the_commit_of_an_end_is_ready_after_it() -> None:
    run = InstanceFactory(scope="ORCHESTRATION", parent=InstanceFactory(scope="PROJECT"))
    first = TaskFactory(instance=run)
    token = claim_task(first.pk, worker="bob", actor=ALICE).token
    made: list[str] = []

    def create() -> None:
        new = NewTask(title="c", instance_id=run.pk, depends_on=[first.pk])
        made.append(create_task(new, actor=ALICE).task.pk)

    _beside(
        lambda: _ignore(complete_task(first.pk, token=token, actor=ALICE)),
        create,
        lambda: None,
    )
    assert Task.objects.get(pk=made[0]).ready
    assert unsound() == []


def test_reports_in_a_transaction_take_the_trees_in_order_where_only_the_last_is_plain() -> None:
    run = InstanceFactory(scope="ORCHESTRATION", parent=InstanceFactory(scope="PROJECT"))
    first, last = sorted((TaskFactory(instance=run) for _ in range(2)), key=lambda task: task.pk)
    child = TaskFactory(parent_id=first.pk, instance=run)
    reports = [
        Done(pk, claim_task(pk, worker="bob", actor=ALICE).token) for pk in (child.pk, last.pk)
    ]

    def report() -> None:
        with transaction.atomic():
            complete_tasks(reports, actor=ALICE)

    _beside(
        lambda: _ignore(lock_row(Task, first.pk)),
        report,
        lambda: _ignore(lock_row(Task, last.pk)),
    )
    assert set(Task.objects.open()) == set()
    assert unsound() == []


def test_a_report_in_a_transaction_takes_the_root_of_a_child_before_the_child() -> None:
    run = InstanceFactory(scope="ORCHESTRATION", parent=InstanceFactory(scope="PROJECT"))
    parent = TaskFactory(instance=run)
    child = TaskFactory(parent_id=parent.pk, instance=run)
    token = claim_task(child.pk, worker="bob", actor=ALICE).token

    def report() -> None:
        with transaction.atomic():
            complete_task(child.pk, token=token, actor=ALICE)

    _beside(
        lambda: _ignore(lock_row(Task, parent.pk)),
        report,
        lambda: _ignore(lock_row(Task, child.pk)),
    )
    assert set(Task.objects.open()) == set()
    assert unsound() == []


def _wait_in_vain(task: Task, before: Task) -> None:
    with pytest.raises(RuleBroken):
        update_task(task.pk, changes={"depends_on": [before.pk]}, actor=ALICE)


def test_a_child_and_an_edit_at_the_same_moment_close_no_cycle() -> None:
    run = InstanceFactory(scope="ORCHESTRATION", parent=InstanceFactory(scope="PROJECT"))
    parent, other = TaskFactory(instance=run), TaskFactory(instance=run)
    child = NewTask(title="c", parent_id=parent.pk, depends_on=[other.pk])

    _beside(
        lambda: _ignore(create_task(child, actor=ALICE)),
        lambda: _wait_in_vain(other, parent),
        lambda: None,
    )
    plan = [NewTask(title="c", depends_on=[other.pk])]
    late = TaskFactory(instance=run)
    _beside(
        lambda: _ignore(create_children(late.pk, plan, terms={}, actor=ALICE)),
        lambda: _wait_in_vain(other, late),
        lambda: None,
    )
    assert unsound() == []


def test_a_child_born_while_its_parents_holder_ends_is_not_lost() -> None:
    web = InstanceFactory(scope="PROJECT")
    run = InstanceFactory(scope="ORCHESTRATION", parent=web)
    parent = TaskFactory(instance=run)
    made: list[str] = []

    def create() -> None:
        made.append(create_task(NewTask(title="c", parent_id=parent.pk), actor=ALICE).task.pk)

    _beside(
        create,
        lambda: _ignore(terminate_instance(run.pk, cascade=True, actor=ALICE)),
        lambda: None,
    )
    assert Task.objects.get(pk=made[0]).instance_id == web.pk
    assert unsound() == []


def test_many_are_created_at_several_places_beside_a_terminate() -> None:
    web = InstanceFactory(scope="PROJECT")
    for name in ("a-c", "ab"):
        InstanceFactory(scope="ORCHESTRATION", parent=web, name=name, id=name)
    places = ("a-c", "ab")

    def take() -> None:
        lock_trees("ab")
        lock_row(HopperInstance, "ab")

    _beside(
        take,
        lambda: _ignore(create_tasks([NewTask("t", instance_id=p) for p in places], actor=ALICE)),
        lambda: _ignore(lock_row(HopperInstance, "a-c")),
    )
    assert Task.objects.count() == 2
    assert unsound() == []


def test_a_change_that_waited_for_the_root_of_a_family_cut_loose_locks_the_new_root() -> None:
    run = InstanceFactory(scope="ORCHESTRATION", parent=InstanceFactory(scope="PROJECT"))
    parent = TaskFactory(instance=run)
    loose = TaskFactory(parent_id=parent.pk, on_parent_close="abandon")
    left, last = TaskFactory(parent_id=loose.pk), TaskFactory(parent_id=loose.pk)
    token = claim_task(left.pk, worker="bob", actor=ALICE).token

    def take_in_order() -> None:
        with transaction.atomic():
            lock_row(Task, loose.pk)
            time.sleep(HELD_SECONDS)
            lock_row(Task, left.pk)

    def both() -> None:
        other = _thread(take_in_order, failures)
        complete_task(left.pk, token=token, actor=ALICE)
        other.join(timeout=60)

    failures: list[BaseException] = []
    _beside(lambda: _ignore(cancel_task(parent.pk, actor=ALICE)), both, lambda: None)
    assert failures == []
    statuses = [Task.objects.get(pk=task.pk).status for task in (parent, left, last)]
    assert statuses == ["cancelled", "done", "pending"]
    assert unsound() == []
