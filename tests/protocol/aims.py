"""The short way to each reason, for a walk that by chance seldom comes to some of them (R26)."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from django.utils import timezone

from delegation.delegator import Delegator
from delegation.models import TaskDelegation
from delegation.placing import place_task
from instances.choices import WaitingCode as W
from instances.lifecycle import actions as lifecycle
from instances.tasks.creating import NewTask, create_task
from instances.tasks.dependencies import reevaluate_dependants
from instances.tasks.ending import cancel_task
from instances.tasks.status_by_hand import set_status
from instances.tasks.worker import claim_next, fail_task
from instances.tree.shape import create_instance
from tests.factories import ALICE

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any


def _task(place: str | None, **fields: Any) -> str:
    """Create a task, place it whatever becomes of the commit, and return its id."""
    new = NewTask(title="aimed", instance_id=place, **fields)
    task = create_task(new, actor=ALICE).task
    return place_task(task.pk).pk


def _simply(place: str | None, **fields: Any) -> Callable[[], None]:
    def aim() -> None:
        _task(place, **fields)

    return aim


def _hindered(hinder: Callable[..., object], at: str) -> Callable[[], None]:
    def aim() -> None:
        _task("run1")
        hinder(at, actor=ALICE)

    return aim


def _unroutable() -> None:
    lifecycle.pause_instance("web", actor=ALICE)
    _task("top", tags=("web",))


def _reject(task: str) -> None:
    for row in TaskDelegation.objects.filter(task=task, status="pending"):
        Delegator(ALICE).reject_delegation(row.pk, reason="no")
    place_task(task)


def _refused() -> None:
    _reject(_task("top", project="ops"))


def _hop_limit() -> None:
    """Have more instances refuse a task than may be asked."""
    for number in range(3):
        config = {"capabilities": ["hop"], "accept": "manual"}
        made = create_instance(
            f"hop{number}", scope="PROJECT", parent_id="top", config=config, actor=ALICE
        )
        lifecycle.start_instance(made.pk, actor=ALICE)
    task = _task("top", tags=("hop",))
    for _ in range(3):
        _reject(task)


def _after_another() -> str:
    first = _task("run1")
    _task("run1", depends_on=(first,))
    return first


def _waiting_dependencies() -> None:
    _after_another()


def _dependency_failed() -> None:
    first = _after_another()
    cancel_task(first, actor=ALICE)
    reevaluate_dependants([first])


def _blocked() -> None:
    set_status(_task("run1"), status="blocked", reason="which one?", actor=ALICE)


def _target_paused() -> None:
    lifecycle.pause_instance("run1", actor=ALICE)
    Delegator(ALICE).delegate_task(_task("web"), "run1")


def _unplaced() -> None:
    create_task(NewTask(title="aimed", instance_id="top"), actor=ALICE)


def _escalated() -> None:
    """Hand a task up to what is paused and runs again: with the commit, its answer is lost."""
    task = _task("web")
    lifecycle.pause_instance("top", actor=ALICE)
    Delegator(ALICE).escalate_task(task, reason="too hard")
    lifecycle.resume_instance("top", actor=ALICE)


def _waiting_children() -> None:
    _task(None, parent_id=_task("run1"))


def _in_line() -> None:
    for _ in range(2):
        _task("run2")


def _at_capacity() -> None:
    _in_line()
    claim_next("run2", worker="w", actor=ALICE)


def _later() -> None:
    _task("run1", not_before=timezone.now() + timedelta(hours=5))


def _backs_off() -> None:
    _task("run1")
    for lease in claim_next("run1", worker="w", actor=ALICE).leases:
        fail_task(lease.task.pk, token=lease.token, error="x", actor=ALICE)


def _at_work() -> None:
    _task("run1")
    claim_next("run1", worker="w", actor=ALICE)


AIMS: dict[W, Callable[[], None]] = {
    W.UNROUTABLE: _unroutable,
    W.CAPABILITY_GAP: _simply("top", required_capabilities=("gpu",)),
    W.HOP_LIMIT: _hop_limit,
    W.AMBIGUOUS_TARGET: _simply("top", project="opps"),
    W.EXPLICIT_TARGET_MISSING: _simply("top", project="gone"),
    W.EXPLICIT_TARGET_REFUSED: _refused,
    W.DEPENDENCY_FAILED: _dependency_failed,
    W.INPUT_REQUIRED: _blocked,
    W.HOLDER_NOT_STARTED: _simply("idle"),
    W.HOLDER_PAUSED: _hindered(lifecycle.pause_instance, "run1"),
    W.HOLDER_STOPPED: _hindered(lifecycle.stop_instance, "run1"),
    W.HOLDER_ERROR: _hindered(lifecycle.fail_instance, "run1"),
    W.ANCESTOR_PAUSED: _hindered(lifecycle.pause_instance, "web"),
    W.ANCESTOR_STOPPED: _hindered(lifecycle.stop_instance, "web"),
    W.ANCESTOR_ERROR: _hindered(lifecycle.fail_instance, "web"),
    W.TARGET_PAUSED: _target_paused,
    W.ROUTING: _unplaced,
    W.AWAITING_ACCEPTANCE: _simply("top", project="ops"),
    W.AWAITING_ESCALATION: _escalated,
    W.WAITING_DEPENDENCIES: _waiting_dependencies,
    W.WAITING_CHILDREN: _waiting_children,
    W.AT_CAPACITY: _at_capacity,
    W.QUEUE_POSITION: _in_line,
    W.NOT_BEFORE: _later,
    W.RETRY_BACKOFF: _backs_off,
    W.IN_PROGRESS: _at_work,
    W.READY_FOR_WORKER: _simply("run1"),
    W.MANUAL_QUEUE: _simply("home"),
    W.AWAITING_TRIAGE: _simply("top"),
    W.UNASSIGNED: _simply(None),
}
"""Each arrives in the forest as planted if its commits have no sequel; any other may refuse."""
