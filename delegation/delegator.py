"""The Delegator: offer, answer, withdraw, escalate; one transaction each (R7)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from django.db import transaction

from delegation.choices import OPEN, DelegationStatus as D, DelegationType, Reason
from delegation.models import TaskDelegation
from delegation.offer_rules import require_acceptance, require_delegable, require_fitting_target
from delegation.offers import (
    Terms,
    accept_offer,
    answer_offer,
    close_offer,
    make_offer,
    take_back,
    target_answer,
)
from hopper import database
from hopper.actors import Actor
from hopper.errors import (
    AlreadyDelegated,
    AlreadyEnded,
    Conflict,
    Gone,
    Invalid,
    LeaseLost,
    NotFound,
)
from hopper.protocol import DELEGATION
from instances.choices import STARTED, AttemptOutcome, HopperScope, TaskStatus as T
from instances.models import HopperInstance, Question, Task
from instances.tasks.changes import change_task, lock_task, present_task
from instances.tasks.creating import NewTask
from instances.tasks.decomposing import Decomposed, create_children, wait_for_others
from instances.tasks.leases import keep_artifact, put_back, refuse_open_children, require_lease
from instances.tasks.next_step import next_step
from instances.tasks.questions import NewQuestion, open_question, require_answer
from instances.tasks.same_report import require_same
from instances.tree.locks import lock_edges, lock_trees, share_lines
from instances.tree.status import share_instance

UP = DelegationType.ESCALATE


@dataclass(frozen=True)
class Handed:
    """A delegation, and whether this call created it. False if the task was there already."""

    delegation: TaskDelegation
    created: bool


class Delegator:
    """Changes delegations in the name of one actor. Holds no other state."""

    def __init__(self, actor: Actor) -> None:
        self.actor = actor

    def delegate_task(
        self,
        task_id: str,
        target_id: str,
        *,
        delegation_type: str = DelegationType.ROUTE,
        notes: str = "",
        accept: str | None = None,
        force: bool = False,
        reason: str = "",
    ) -> Handed:
        """Offer a task to a child of its holder by name (R8). No change for a task already there.

        With `accept` "auto", and always for a remote (R1), the target's behaviour answers at once.
        `force` with a `reason` (kept in the notes) overrides an exclusion (R10). Type `reassign`
        moves accepted work sideways (R12); running work needs `force`. Raises RuleBroken (422) for
        a target that is no child of the holder, Conflict (409) for a started task, another pending
        offer, or a closed target.
        """
        with transaction.atomic():
            if delegation_type == DelegationType.REASSIGN:
                lock_trees(target_id, present_task(task_id).instance_id)
            target = share_instance(target_id)
            task = lock_task(task_id)
            there = _already_there(task, target_id)
            if there is not None:
                return Handed(there, created=False)
            now = database.now()
            if delegation_type == DelegationType.REASSIGN:
                take_back(task, force=force, actor=self.actor, now=now)
            require_delegable(task)
            require_fitting_target(task, target, force=force, reason=reason)
            self._make_pending(task, now)
            at_once = accept == "auto" or target.scope == HopperScope.FEDERATED
            words = "; ".join(filter(None, (notes, reason)))
            terms = Terms(delegation_type, words, explicit=not at_once, forced=force)
            delegation = make_offer(task, target, terms, actor=self.actor, now=now)
            if at_once:
                self._answer(delegation, task, target, now)
        return Handed(TaskDelegation.objects.get(pk=delegation.pk), created=True)

    def accept_delegation(self, delegation_id: str, *, notes: str = "") -> TaskDelegation:
        """Accept a pending delegation: the target becomes the holder (R8). Repeatable.

        Raises Conflict for a delegation with another end, for a target that may not accept now
        (R3), and for a full queue (R22).
        """

        def accept(delegation: TaskDelegation, task: Task, target: HopperInstance) -> None:
            if delegation.status in (D.ACCEPTED, D.COMPLETED):
                return
            DELEGATION.require(delegation.status, D.ACCEPTED, delegation.pk)
            require_acceptance(target)
            delegation.notes = notes or delegation.notes
            accept_offer(delegation, task, target, actor=self.actor, now=database.now())

        return self._change(delegation_id, accept)

    def reject_delegation(self, delegation_id: str, *, reason: str) -> TaskDelegation:
        """Refuse a pending delegation; the task is routed again (R9). Repeatable.

        Raises Conflict for a delegation with another answer, and for an escalation (R11). Raises
        AlreadyEnded if the delegation was rejected for another reason.
        """

        def reject(delegation: TaskDelegation, task: Task, target: HopperInstance) -> None:
            if delegation.status == D.REJECTED:
                _require_same_reason(delegation, reason)
                return
            if delegation.goes_up:
                raise Conflict(
                    "An escalation cannot be rejected: accept it and delegate the task again.",
                    code="escalation",
                    state=delegation.status,
                    allowed=[D.ACCEPTED.value],
                )
            DELEGATION.require(delegation.status, D.REJECTED, delegation.pk)
            self._close(delegation, task, D.REJECTED, Reason.REJECTED, reason)

        return self._change(delegation_id, reject)

    def cancel_delegation(
        self, delegation_id: str, *, reason: str = "", code: str = Reason.WITHDRAWN
    ) -> TaskDelegation:
        """Withdraw a pending delegation without excluding the target. Repeatable.

        Raises Conflict for an answered delegation, and for an escalation. Raises AlreadyEnded if
        the delegation was withdrawn for another reason.
        """

        def cancel(delegation: TaskDelegation, task: Task, target: HopperInstance) -> None:
            if delegation.status == D.CANCELLED:
                _require_same_reason(delegation, reason)
                return
            if delegation.status != D.PENDING or delegation.goes_up:
                allowed = [] if delegation.status != D.PENDING else [D.ACCEPTED.value]
                raise Conflict(
                    f"delegation {delegation.pk} is {delegation.status}: only a pending offer "
                    "downward can be taken back.",
                    code="invalid_transition",
                    state=delegation.status,
                    allowed=allowed,
                )
            self._close(delegation, task, D.CANCELLED, code, reason)

        return self._change(delegation_id, cancel)

    def complete_delegation(
        self, delegation_id: str, *, result: Any = None, notes: str = "", token: str | None = None
    ) -> TaskDelegation:
        """Complete the task by the last hop of its path. A pending hop is accepted first (R7).

        Raises Conflict, naming the holder, if the task is held further down, and Conflict if a
        worker has a live lease and no token is given. Raises LeaseLost or Gone for the token of an
        ended lease, AlreadyEnded if the task was completed with another result.
        """

        def complete(delegation: TaskDelegation, task: Task, target: HopperInstance) -> None:
            if delegation.status == D.COMPLETED:
                name, state = f"delegation {delegation.pk}", delegation.status
                stored = delegation.result
                require_same(name, state, word="result", stored=stored, reported=result)
                return
            now = database.now()
            if delegation.status == D.PENDING:
                require_acceptance(target)
                accept_offer(delegation, task, target, actor=self.actor, now=now)
            else:
                DELEGATION.require(delegation.status, D.COMPLETED, delegation.pk)
            _require_last_hop(delegation, task)
            require_lease(task, token)
            refuse_open_children(task)
            if notes:
                TaskDelegation.objects.filter(pk=delegation.pk).update(notes=notes)
            task.result = result
            change_task(task, T.DONE, actor=self.actor, now=now, administrative=token is None)

        try:
            with transaction.atomic():
                # Before the target's row (R6).
                share_lines()
                return self._change(delegation_id, complete)
        except (LeaseLost, Gone, AlreadyEnded):
            row = TaskDelegation.objects.get(pk=delegation_id)
            keep_artifact(row.task_id, token, result)
            raise

    def escalate_task(
        self,
        task_id: str,
        *,
        reason: str = "",
        severity: str = "",
        code: str = Reason.ESCALATED,
        token: str | None = None,
    ) -> TaskDelegation | None:
        """Escalate a task to the instance that it came from, or to the tree parent (R11).

        The words of a worker or a person open a question, and so does every escalation at a root;
        a question that is open goes along. The lease is revoked. A running parent accepts in the
        same transaction. At a root the task is blocked for a person, and None is returned. Raises
        Conflict while another delegation is pending, for an unassigned or a finished task,
        LeaseLost or Gone for the token of a lease that is over.
        """
        parent_id = escalation_target(present_task(task_id))
        with transaction.atomic():
            parent = share_instance(parent_id) if parent_id else None
            task = lock_task(task_id)
            if token is not None:
                require_lease(task, token)
            if escalation_target(task) != parent_id:
                raise Conflict(f"{task_id} moved meanwhile; try again.", state=task.status)
            _require_escalatable(task)
            now = database.now()
            asks = parent is None or (reason != "" and code == Reason.ESCALATED)
            by = task.worker if token else self.actor.name
            question = _question_of(task, reason, by, now, asks=asks)
            self._make_pending(task, now)
            if parent is None:
                require_answer(task, question, actor=self.actor, now=now)
                return None
            words = f"[{severity}] {reason}" if severity else reason
            terms = Terms(UP, words, reason=code, question_id=question.pk if question else None)
            delegation = make_offer(task, parent, terms, actor=self.actor, now=now)
            if parent.standing().may("accept"):
                accept_offer(delegation, task, parent, actor=self.actor, now=now)
        return TaskDelegation.objects.get(pk=delegation.pk)

    def answer_waiting(self, delegation_id: str) -> TaskDelegation:
        """Ask the target of a waiting offer for its answer, if the target runs now (R8)."""

        def answer(delegation: TaskDelegation, task: Task, target: HopperInstance) -> None:
            if delegation.status == D.PENDING and target.standing().may("accept"):
                self._answer(delegation, task, target, database.now())

        return self._change(delegation_id, answer)

    def expire_delegation(self, delegation_id: str) -> TaskDelegation:
        """End an expired offer. The time is checked again under the lock (R7)."""

        def expire(delegation: TaskDelegation, task: Task, target: HopperInstance) -> None:
            due = delegation.expires_at
            if delegation.status == D.PENDING and due is not None and due <= database.now():
                self._close(delegation, task, D.EXPIRED, Reason.EXPIRED, "")

        return self._change(delegation_id, expire)

    def _make_pending(self, task: Task, now: datetime) -> None:
        """Return a started or blocked task to pending, so that it can be offered."""
        if task.status == T.PENDING:
            return
        task.wait("")
        if task.status in STARTED:
            put_back(task, outcome=AttemptOutcome.RELEASED, actor=self.actor, now=now)
        else:
            change_task(task, T.PENDING, actor=self.actor, now=now, kind="task.unblocked")

    def _answer(
        self, delegation: TaskDelegation, task: Task, target: HopperInstance, now: datetime
    ) -> None:
        if delegation.goes_up:
            if target.standing().may("accept"):
                accept_offer(delegation, task, target, actor=self.actor, now=now)
            return
        answer = target_answer(task, target)
        answer_offer(delegation, task, target, answer, actor=self.actor, now=now)

    def _close(
        self, delegation: TaskDelegation, task: Task, status: str, reason: str, words: str
    ) -> None:
        close_offer(
            delegation,
            task,
            status,
            reason=reason,
            words=words,
            actor=self.actor,
            now=database.now(),
        )

    def _change(
        self,
        delegation_id: str,
        change: Callable[[TaskDelegation, Task, HopperInstance], None],
    ) -> TaskDelegation:
        """Run a change under the locks of R6 (target shared, root, task), the row read again."""
        known = TaskDelegation.objects.filter(pk=delegation_id).first()
        if known is None:
            raise NotFound(f"There is no delegation {delegation_id}.")
        with transaction.atomic():
            target = share_instance(known.target_instance_id)
            task = lock_task(known.task_id)
            delegation = TaskDelegation.objects.get(pk=delegation_id)
            change(delegation, task, target)
        return TaskDelegation.objects.get(pk=delegation_id)


def _already_there(task: Task, target_id: str) -> TaskDelegation | None:
    """Return the row that offers or brought the task to the target, or led through it (R8)."""
    rows = TaskDelegation.objects.filter(
        task=task, target_instance_id=target_id, status__in=OPEN
    ).exclude(delegation_type=DelegationType.ESCALATE, status=D.PENDING)
    row = rows.order_by("-delegated_at", "-hop", "-id").first()
    if row is None or row.is_pending:
        return row
    on_path = TaskDelegation.objects.chain(task.pk).filter(pk=row.pk).exists()
    return row if on_path or task.instance_id == target_id else None


def _require_same_reason(delegation: TaskDelegation, reason: str) -> None:
    name, stored = f"delegation {delegation.pk}", delegation.rejection_reason
    require_same(name, delegation.status, word="reason", stored=stored, reported=reason)


def _require_last_hop(delegation: TaskDelegation, task: Task) -> None:
    if delegation.target_instance_id != task.instance_id:
        raise Conflict(
            f"{task.pk} is held further down by {task.instance_id}.",
            code="held_further_down",
            state=delegation.status,
            instance_id=task.instance_id,
        )
    if task.offered_to_id is not None:
        raise AlreadyDelegated(
            f"{task.pk} is offered to {task.offered_to_id}.", offered_to=task.offered_to_id
        )


def escalation_target(task: Task) -> str | None:
    """Return the target of an escalation: the last hop's source, else the tree parent (R11)."""
    last = TaskDelegation.objects.chain(task.pk).last()
    if last is not None:
        return last.source_instance_id
    return task.instance.parent_id if task.instance else None


def _question_of(task: Task, words: str, by: str, now: datetime, *, asks: bool) -> Question | None:
    """Return the open question of a task; where there is none, a new one if `asks` is set."""
    question = Question.objects.open_of(task)
    if question is not None or not asks:
        return question
    new = NewQuestion(words or f"{task.instance_id} escalated it: what now?")
    return open_question(task, new, by=by, now=now)


def _require_escalatable(task: Task) -> None:
    if task.instance_id is None or task.is_terminal or task.decomposed:
        open_parent = task.decomposed and not task.is_terminal
        raise Conflict(
            f"{task.pk} is {'decomposed' if open_parent else task.status or 'unassigned'}"
            f" and cannot be escalated{': retry it first' if task.is_terminal else ''}.",
            state=task.status,
            allowed=next_step(task).allowed if task.is_terminal else [],
        )
    if task.offered_to_id is not None:
        raise AlreadyDelegated(
            f"{task.pk} is offered to {task.offered_to_id}.", offered_to=task.offered_to_id
        )


def decompose_task(
    task_id: str,
    children: Sequence[NewTask],
    *,
    terms: Mapping[str, Any] | None = None,
    token: str | None = None,
    actor: Actor,
) -> Decomposed:
    """Create all children of a task in one transaction. Placing follows the commit (R13).

    `instance_id` of a child is its target: a child of the holder, which gets an offer at once, or
    the holder itself. For the rest see `create_children`. Raises RuleBroken for another target,
    Invalid for more than 100 children with a target.
    """
    with transaction.atomic():
        _lock_targets(task_id, children)
        found = create_children(task_id, children, terms=terms or {}, token=token, actor=actor)
        for child, made in zip(children, found.children, strict=True):
            if made.pk in found.new and child.instance_id not in (None, made.instance_id):
                Delegator(actor).delegate_task(
                    made.pk,
                    str(child.instance_id),
                    delegation_type=DelegationType.DECOMPOSE,
                    accept="auto",
                )
    fresh = Task.objects.in_bulk([child.pk for child in found.children])
    return replace(found, children=[fresh[child.pk] for child in found.children])


def _lock_targets(task_id: str, children: Sequence[NewTask]) -> None:
    """Lock the instances that children name, and the holder: before any task row (R6)."""
    targets = {child.instance_id for child in children if child.instance_id}
    if not targets:
        return
    holder_id = present_task(task_id).instance_id
    _require_few_targets([child.instance_id for child in children], holder_id)
    targets |= {holder_id} if holder_id else set()
    lock_trees(*targets)
    if wait_for_others(children):
        lock_edges()
    for target_id in sorted(targets):
        share_instance(target_id, field="instance_id")


MAX_TARGETED = 100
"""The most children of one call with an instance of their own; each gets its offer at once."""


def _require_few_targets(targets: Sequence[str | None], holder_id: str | None) -> None:
    if sum(target not in (None, holder_id) for target in targets) > MAX_TARGETED:
        words = f"at most {MAX_TARGETED} children of one call have an instance_id of their own"
        raise Invalid.field("children", words, "too_many")
