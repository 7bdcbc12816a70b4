"""The next step that each reason names (R26), done by the services."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from delegation.delegator import Delegator
from delegation.models import TaskDelegation
from delegation.placing import place_task, reroute_task
from delegation.sweep import sweep
from hopper.errors import Conflict, HopperError
from instances.choices import WaitingCode as W
from instances.lifecycle import actions as lifecycle
from instances.lifecycle.actions import update_instance
from instances.models import HopperInstance, Task, TaskDependency
from instances.tasks.editing import update_task
from instances.tasks.reopening import reopen_task
from instances.tasks.status_by_hand import set_status
from instances.tasks.worker import claim_next, claim_task, complete_task
from instances.tree.shape import create_instance
from tests.factories import ALICE

if TYPE_CHECKING:
    from collections.abc import Callable

    from time_machine import Coordinates


@dataclass(frozen=True)
class Wait:
    """A task that waits, and its reason."""

    task: Task
    reason: dict[str, Any]
    clock: Coordinates

    @property
    def object(self) -> str:
        """The id of what is waited for."""
        return str(self.reason["object"])


def start_what_fits(wait: Wait) -> None:
    """Bring to run what fits below the holder, made if need be; else offer it, or do it by hand."""
    with suppress(HopperError):
        _start_what_fits(wait.task)
    if Task.objects.get(pk=wait.task.pk).status == "blocked":
        _or_by_hand(wait, lambda: _to_a_child(wait))


def _start_what_fits(task: Task) -> None:
    children = HopperInstance.objects.live().filter(parent=task.instance)
    named = children.filter(name=task.project).first() if task.project else None
    if named is None:
        holder = HopperInstance.objects.get(pk=task.instance_id)
        if holder.status == "stopped":
            _bring_to_run(holder.pk)
        can = sorted({*task.tags, *task.required_capabilities})
        named = create_instance(
            task.project or f"fits-{children.count()}",
            scope="ORCHESTRATION" if holder.scope == "PROJECT" else "PROJECT",
            parent_id=holder.pk,
            config={"capabilities": can},
            actor=ALICE,
        )
    else:
        for other in children:
            # It may have been the others that were full, or it that refused.
            _bring_to_run(other.pk)
    _bring_to_run(named.pk)


def change_the_project(wait: Wait) -> None:
    """Ask for no project by name."""
    update_task(wait.task.pk, changes={"project": ""}, actor=ALICE)


def retry_the_predecessor(wait: Wait) -> None:
    """Open again what failed, or see that it was; where it cannot be, wait for it no longer."""
    try:
        reopen_task(wait.object, actor=ALICE)
        sweep()
    except HopperError:
        before = TaskDependency.objects.filter(task=wait.task).exclude(depends_on=wait.object)
        kept = list(before.values_list("depends_on_id", flat=True))
        update_task(wait.task.pk, changes={"depends_on": kept}, actor=ALICE)


def route_again(wait: Wait) -> None:
    """Begin a new epoch; where it ends in the same way, offer the task by name."""
    reroute_task(wait.task.pk, actor=ALICE)
    place_task(wait.task.pk)
    if Task.objects.get(pk=wait.task.pk).status == "blocked":
        _or_by_hand(wait, lambda: _to_a_child(wait))


def answer_it(wait: Wait) -> None:
    """Say that nothing is asked any more."""
    set_status(wait.task.pk, status="pending", actor=ALICE)


def bring_to_run(wait: Wait) -> None:
    """Start, resume or recover what is named; end the work of what is stopping."""
    _bring_to_run(wait.object)


def place(wait: Wait) -> None:
    """Do what the router was about to do."""
    place_task(wait.task.pk)


def accept(wait: Wait) -> None:
    """Accept what is offered; refuse it where there is no room."""
    row = TaskDelegation.objects.get(pk=wait.object)
    try:
        Delegator(ALICE).accept_delegation(row.pk)
    except Conflict:
        Delegator(ALICE).reject_delegation(row.pk, reason="no room")


def finish_what_is_named(wait: Wait) -> None:
    """Finish the task that is waited for; the sweep sees to it where all have ended."""
    if wait.object == wait.task.pk:
        sweep()
    else:
        _finish(wait.object)


def make_room(wait: Wait) -> None:
    """Finish what has a lease at the instance; where nothing has, raise the limit."""
    leased = Task.objects.leased().filter(instance=wait.object).first()
    if leased is not None:
        _finish(leased.pk)
        return
    config = HopperInstance.objects.get(pk=wait.object).config
    changes = {"config": config | {"max_concurrent_tasks": 5}}
    update_instance(wait.object, changes=changes, actor=ALICE)


def claim_what_is_in_front(wait: Wait) -> None:
    """Claim the next task of the queue."""
    claim_next(wait.object, worker="w", actor=ALICE)


def let_time_pass(wait: Wait) -> None:
    """Wait until the time that is named."""
    wait.clock.move_to(datetime.fromisoformat(str(wait.reason["until"])))


def finish_it(wait: Wait) -> None:
    """Finish the work."""
    _finish(wait.task.pk)


def claim_it(wait: Wait) -> None:
    """Take a lease on it."""
    claim_task(wait.task.pk, worker="somebody", actor=ALICE)


def hand_it_on(wait: Wait) -> None:
    """Delegate it to an instance below; where there is none that may take it, do it by hand."""
    _or_by_hand(wait, lambda: _to_a_child(wait))


MOVES: dict[W, Callable[[Wait], None]] = {
    W.UNROUTABLE: start_what_fits,
    W.CAPABILITY_GAP: start_what_fits,
    W.HOP_LIMIT: route_again,
    W.AMBIGUOUS_TARGET: change_the_project,
    W.EXPLICIT_TARGET_MISSING: change_the_project,
    W.EXPLICIT_TARGET_REFUSED: change_the_project,
    W.DEPENDENCY_FAILED: retry_the_predecessor,
    W.INPUT_REQUIRED: answer_it,
    W.HOLDER_NOT_STARTED: bring_to_run,
    W.HOLDER_PAUSED: bring_to_run,
    W.HOLDER_STOPPED: bring_to_run,
    W.HOLDER_ERROR: bring_to_run,
    W.ANCESTOR_PAUSED: bring_to_run,
    W.ANCESTOR_STOPPED: bring_to_run,
    W.ANCESTOR_ERROR: bring_to_run,
    W.TARGET_PAUSED: bring_to_run,
    W.ROUTING: place,
    W.AWAITING_ACCEPTANCE: accept,
    W.AWAITING_ESCALATION: accept,
    W.WAITING_DEPENDENCIES: finish_what_is_named,
    W.WAITING_CHILDREN: finish_what_is_named,
    W.AT_CAPACITY: make_room,
    W.QUEUE_POSITION: claim_what_is_in_front,
    W.NOT_BEFORE: let_time_pass,
    W.RETRY_BACKOFF: let_time_pass,
    W.IN_PROGRESS: finish_it,
    W.READY_FOR_WORKER: claim_it,
    W.MANUAL_QUEUE: claim_it,
    W.AWAITING_TRIAGE: hand_it_on,
    W.UNASSIGNED: hand_it_on,
}
"""Every reason, and what is done about it."""


def _bring_to_run(instance_id: str) -> None:
    status = HopperInstance.objects.values_list("status", flat=True).get(pk=instance_id)
    if status == "paused":
        lifecycle.resume_instance(instance_id, actor=ALICE)
    elif status == "error":
        lifecycle.recover_instance(instance_id, actor=ALICE)
    elif status == "stopping":
        lifecycle.stop_instance(instance_id, force=True, actor=ALICE)
    else:
        lifecycle.start_instance(instance_id, actor=ALICE)


def _to_a_child(wait: Wait) -> None:
    """Offer the task by name to an instance below its holder, even to one that refused it."""
    instances = HopperInstance.objects.live().order_by("pk")
    below = instances.filter(parent=wait.task.instance_id) if wait.task.instance_id else instances
    for target_id in below.values_list("pk", flat=True):
        with suppress(HopperError):
            Delegator(ALICE).delegate_task(wait.task.pk, target_id, force=True, reason="try again")
            return
    raise Conflict("Nobody below may be asked.")


def _or_by_hand(wait: Wait, move: Callable[[], None]) -> None:
    try:
        move()
    except HopperError:
        set_status(wait.task.pk, status="in_progress", actor=ALICE)


def _finish(task_id: str) -> None:
    """Finish a task, its open children first."""
    for child in Task.objects.open().filter(parent=task_id):
        _finish(child.pk)
    task = Task.objects.get(pk=task_id)
    if task.has_live_lease:
        complete_task(task_id, token=task.lease_token, actor=ALICE)
    elif not task.is_terminal:
        set_status(task_id, status="done", force=True, actor=ALICE)
