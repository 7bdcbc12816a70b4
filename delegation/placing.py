"""Placing: decide without locks, then make one hop in one transaction, until rest (R9)."""

from __future__ import annotations

import json
import logging
import time
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db import transaction

from delegation.choices import DelegationType, Reason
from delegation.delegation_history import DelegationHistory, Reading
from delegation.delegator import Delegator, escalation_target
from delegation.facts import around
from delegation.hop_sql import Plain, hop_at_once, is_plain, rest_at_once
from delegation.models import TaskDelegation
from delegation.offer_rules import over_hop_limit
from delegation.offers import Terms, answer_offer, make_offer, target_answer
from delegation.router import MAX_HOPS, InstanceRouter
from delegation.unplaced import block_unplaced
from hopper import database, tracing
from hopper.actors import ROUTER, Actor
from hopper.config.files import CONFIGURATION
from hopper.database import lock_shared
from hopper.errors import Conflict, HopperError
from instances.allowances import EXECUTING, Standing
from instances.choices import InstanceStatus as I, TaskStatus as T, WaitingCode as W
from instances.lifecycle.actions import start_instance
from instances.models import HopperInstance, Question, Task, lineages
from instances.tasks.changes import (
    amend_task,
    gathered,
    insert_rows,
    lock_task,
    present_task,
)
from instances.tasks.editing import begin_placing_anew
from instances.tasks.questions import require_answer
from instances.tree.locks import lock_trees
from instances.tree.shape import create_instance
from scopes.deciding import BehaviorFailed
from scopes.decisions import CreateChild, Decision, InstanceFacts, Refuse, SendTo
from scopes.record import Decided, decision_json, decision_row

logger = logging.getLogger(__name__)

_at_work: ContextVar[frozenset[str]] = ContextVar("tasks being placed", default=frozenset())

_DECIDED_AGAIN = 3
"""The most repeats of a decision because the tree changed meanwhile (R9)."""


class _Stale(Exception):
    """The situation of the decision no longer holds."""


def place_task(task_id: str, *, actor: Actor = ROUTER) -> Task:
    """Place a due task hop by hop until it rests, and return it. Ignores tasks that are not due.

    Each hop is a transaction of its own. The sweep places a task that stays due. A task whose
    behaviour fails stays due, and its reason names the failure.
    """
    _make_hops(task_id, None, actor)
    return Task.objects.get(pk=task_id)


def _make_hops(task_id: str, read: Reading | None, actor: Actor) -> None:
    stale, token = 0, _at_work.set(_at_work.get() | {task_id})
    try:
        for _ in range(MAX_HOPS):
            try:
                # A decision and its execution use one configuration, even while files are edited.
                with CONFIGURATION.held():
                    read = _step(read or Reading.of(task_id), actor)
            except _Stale:
                read, stale = None, stale + 1
                if stale > _DECIDED_AGAIN:
                    break
                continue
            if read is None:
                break
            stale = 0
    except BehaviorFailed as failure:
        _explain(task_id, failure, actor)
    finally:
        _at_work.reset(token)


def try_to_place(task: Task, *, actor: Actor = ROUTER) -> None:
    """Place a due task, given as the caller has just committed it.

    Logs a failure and leaves it to the sweep, so that the caller can place further tasks.
    """
    if task.pk in _at_work.get():
        # An accepted hop has announced the task that its caller is placing already.
        return
    try:
        _make_hops(task.pk, Reading.as_written(task), actor)
    except Exception:
        logger.exception("placing failed", extra={"event": "placing_failed", "task": task.pk})


def reroute_task(task_id: str, *, actor: Actor) -> Task:
    """Begin a new epoch at the holder and place the task again (R9).

    Raises Conflict for a task that is started, finished, escalating, or blocked by a person.
    """
    with transaction.atomic():
        task = lock_task(task_id)
        if task.instance_id is None or not begin_placing_anew(
            task, actor=actor, now=database.now(), reason="rerouted"
        ):
            raise Conflict(
                f"{task_id} is {task.status if task.instance_id else 'unassigned'}"
                f"{' (' + task.waiting_code + ')' if task.waiting_code else ''}: "
                "only a resting task can be routed again"
                f"{'; retry it first' if task.is_terminal else ''}.",
                code="not_routable",
                state=task.status,
                allowed=[T.PENDING.value],
            )
    return Task.objects.get(pk=task_id)


def _step(read: Reading, actor: Actor) -> Reading | None:
    """Decide once and act on it; return the task if it may have to go further."""
    attributes = {"task_id": read.task.pk, "instance_id": read.task.instance_id}
    with tracing.span("place task", read.task.traceparent, **attributes):
        return _decide(read, actor)


def _decide(read: Reading, actor: Actor) -> Reading | None:
    task = read.task
    if task.awaits_escalation:
        return _hand_up(task, actor)
    back = _way_back(task)
    if back is not None:
        return _give_back(task, back, actor)
    note = _look(read, actor)
    if note is None:
        return None
    decision = note.decision
    if isinstance(decision, CreateChild):
        return _create_child(task.pk, actor)
    if isinstance(decision, SendTo):
        return _send(note, decision.target_id)
    if isinstance(decision, Refuse):
        return _refuse(note, decision)
    _rest(note)
    return None


def _look(read: Reading, actor: Actor) -> _Note | None:
    """Return the decision about a task now, or None if the task is not due or cannot move on."""
    task, holder = read.task, read.task.instance
    if not task.route_due or holder is None:
        return None
    question = Question.objects.open_of(task)
    began = time.perf_counter()
    decided = InstanceRouter().decide(task, holder, read.history, read.here)
    if decided is None:
        return None
    elapsed = (time.perf_counter() - began) * 1000
    return _Note(read, holder, decided, question, elapsed, actor)


def _explain(task_id: str, failure: BehaviorFailed, actor: Actor) -> None:
    """Record why a task stays due. Logs and writes history only if the reason changed."""
    with transaction.atomic():
        task = lock_task(task_id)
        if not task.route_due or task.waiting.get("detail") == failure.detail:
            return
        now = database.now()
        task.waiting = {"detail": failure.detail}
        data = {"detail": failure.detail, "attention": True}
        amend_task(task, "task.undecided", actor=actor, now=now, **data)
    logger.error(
        "behaviour failed", extra={"event": "behavior.failed", "task": task_id}, exc_info=failure
    )


@dataclass(frozen=True)
class _Note:
    """One decision about a due task, ready to be carried out and recorded."""

    read: Reading
    holder: HopperInstance
    decided: Decided
    question: Question | None
    elapsed_ms: float
    actor: Actor

    @property
    def task(self) -> Task:
        """The task as it was read."""
        return self.read.task

    @property
    def decision(self) -> Decision:
        """The outcome of the decision."""
        return self.decided.decision

    def lock(self) -> tuple[Task, DelegationHistory]:
        """Return the task, locked, if it, its question and the barred instances are as read (R9).

        And its delegations, read under the lock.

        Raises _Stale otherwise, also if the task moved between the reads of task and path.
        """
        task = lock_task(self.task.pk)
        same = (task.instance_id, task.epoch) == (self.task.instance_id, self.task.epoch)
        if not (task.route_due and same):
            raise _Stale
        if self.question != Question.objects.open_of(task) or task.return_to_id != (
            self.task.return_to_id
        ):
            raise _Stale
        history = DelegationHistory.of(task)
        barred = history.barred
        if any(barred.get(one.id, "") != one.barred for one in self.decided.situation.candidates):
            raise _Stale
        return task, history

    def write(self, now: datetime, history: DelegationHistory, *, refused: str = "") -> None:
        """Record the decision, one row for each hop. `refused` is the code of a refusal, if any."""
        row = decision_row(self.decided, **self._record(history), now=now, refused=refused)
        insert_rows(row)

    def _record(self, history: DelegationHistory) -> dict[str, Any]:
        return {
            "epoch": self.task.epoch,
            "hop": history.next_number,
            "elapsed_ms": self.elapsed_ms,
            "actor": self.actor,
        }

    def candidate(self, target_id: str) -> InstanceFacts:
        """Return the facts about a candidate of the decision."""
        return next(one for one in self.decided.situation.candidates if one.id == target_id)

    def plain(self) -> Plain | None:
        """Return the decision where the database may carry it out at once."""
        if self.question is not None or not is_plain(self.read):
            return None
        record = decision_json(self.decided, **self._record(self.read.history))
        return Plain(self.read, self.decided.situation.task, record, self.actor)

    def require_nothing_began(self) -> None:
        """Raise _Stale if an instance below the holder began to run since the read (R9)."""
        below = HopperInstance.objects.under(self.holder.pk).running()
        if below.filter(updated_at__gt=self.read.at).exclude(pk=self.holder.pk).exists():
            raise _Stale


def _send(note: _Note, target_id: str) -> Reading | None:
    plain = note.plain()
    made = hop_at_once(plain, note.candidate(target_id)) if plain is not None else None
    if made is not None:
        return made if made.task.route_due else None
    return _send_on(note, target_id)


def _send_on(note: _Note, target_id: str) -> Reading | None:
    """Send a task of any kind to a child, which may accept, refuse, or let the offer wait."""
    with transaction.atomic():
        target = lock_shared(HopperInstance, target_id)
        task, history = note.lock()
        # The target may have changed since, with fewer capabilities (R9). A change that was
        # committed after the reading may bear an earlier moment.
        if target is None or target.updated_at > note.read.at:
            raise _Stale
        if target.config != json.loads(note.candidate(target_id).config):
            raise _Stale
        here = around(target_id, children=False)
        standing = Standing.along(here.line)
        if not InstanceRouter().can_delegate_to(note.holder, target, standing):
            raise _Stale
        now = here.now
        over = over_hop_limit(note.holder, history.made)
        if over:
            _block(note, task, history, "HopLimit", over, now)
            return None
        answer = target_answer(task, target, here)
        why = answer.reason if answer.verdict == "wait" else ""
        first = task.parent_id is not None and not history.rows
        terms = Terms(DelegationType.DECOMPOSE if first else DelegationType.ROUTE)
        hop, by = history.next_number, note.actor
        with gathered():
            delegation = make_offer(task, target, terms, why=why, hop=hop, actor=by, now=now)
            note.write(now, history)
            answer_offer(delegation, task, target, answer, actor=by, now=now)
    return Reading(task, history.with_row(delegation), now) if task.route_due else None


def _rest(note: _Note) -> None:
    plain = note.plain()
    if plain is not None and rest_at_once(plain):
        return
    with transaction.atomic():
        task, history = note.lock()
        note.require_nothing_began()
        now = database.now()
        if note.question is not None and note.holder.scope not in EXECUTING:
            # Nobody may claim it here: its question stays the reason (R11).
            note.write(now, history)
            require_answer(task, note.question, actor=note.actor, now=now)
            return
        task.route_due = False
        if not task.waiting_code:
            # The reason of an earlier failure of the behaviour no longer holds.
            task.wait("")
        code, reasons = getattr(note.decision, "code", ""), list(note.decision.reasons)
        data = {"code": code, "reasons": reasons}
        with gathered():
            note.write(now, history)
            amend_task(task, "task.resting", actor=note.actor, now=now, **data)


def _refuse(note: _Note, decision: Refuse) -> Reading | None:
    """Escalate the task if it came from above, else block it here for a person (R9)."""
    path = TaskDelegation.objects.chain(note.task.pk)
    rises = decision.goes_up and path.exists()
    if rises and note.question is None:
        with transaction.atomic():
            # The escalation locks the level above before the task. So the same order here (R6).
            source = path.values_list("source_instance_id", flat=True).last()
            lock_shared(HopperInstance, str(source))
            _, history = note.lock()
            note.require_nothing_began()
            note.write(database.now(), history)
            Delegator(note.actor).escalate_task(
                note.task.pk, reason="; ".join(decision.reasons), code="unplaceable"
            )
        return Reading.of(note.task.pk)
    with transaction.atomic():
        task, history = note.lock()
        note.require_nothing_began()
        code = W.UNROUTABLE if rises else decision.code
        _block(note, task, history, code, "; ".join(decision.reasons), database.now())
    return None


def _hand_up(read: Task, actor: Actor) -> Reading:
    """Escalate a task that failed for good at its holder, in any state of the holder (R11, R15).

    This needs no decision, so none is recorded.
    """
    with transaction.atomic():
        above = escalation_target(read)
        if above is not None:
            # The level above is locked before the task (R6).
            lock_shared(HopperInstance, above)
        task = lock_task(read.pk)
        if not task.awaits_escalation or escalation_target(task) != above:
            raise _Stale
        Delegator(actor).escalate_task(task.pk, reason=task.error, code=Reason.TASK_FAILED)
    return Reading.of(task.pk)


def _way_back(task: Task) -> str | None:
    """Return the child of the holder on the way to the asker of an answered task (R11).

    None where no answered task goes back, and where the child does not run: it is then placed as
    always.
    """
    if not task.route_due or task.return_to_id is None:
        return None
    line = lineages([task.return_to_id])[task.return_to_id]
    ids = [one.id for one in line]
    if task.instance_id not in ids[:-1]:
        return None
    place = ids.index(task.instance_id) + 1
    return ids[place] if Standing.along(line[: place + 1]).effective == I.RUNNING else None


def _give_back(read: Task, child_id: str, actor: Actor) -> Reading:
    """Offer an answered task to the child towards its asker, whatever R10 excludes (R11).

    No decision is made about it, so none is recorded.
    """
    with transaction.atomic():
        child = lock_shared(HopperInstance, child_id)
        task = lock_task(read.pk)
        if child is None or _way_back(task) != child_id:
            raise _Stale
        now = database.now()
        answered = task.questions.filter(answer__isnull=False).latest("number")
        terms = Terms(forced=True, reason=Reason.ANSWERED, question_id=answered.pk)
        delegation = make_offer(task, child, terms, actor=actor, now=now)
        answer = target_answer(task, child)
        answer_offer(delegation, task, child, answer, actor=actor, now=now)
    return Reading.of(task.pk)


QUESTION_STANDS = frozenset({W.UNROUTABLE, W.HOP_LIMIT, W.EXPLICIT_TARGET_REFUSED})
"""The blocks by placing in the place of which an open question stays the reason (R11)."""


def _block(
    note: _Note, task: Task, history: DelegationHistory, code: str, detail: str, now: datetime
) -> None:
    with gathered():
        note.write(now, history, refused=code)
        if note.question is not None and code in QUESTION_STANDS:
            require_answer(task, note.question, actor=note.actor, now=now)
            return
        considered = note.decision.considered
        block_unplaced(task, code, detail, considered=considered, actor=note.actor, now=now)


def _create_child(task_id: str, actor: Actor) -> Reading:
    """Create and start the instance of the decision (R25). The next decision sends the task there.

    The behaviour decides again in the locked tree, so that no other process creates meanwhile. So
    of two nearly equal names only one is created, and the limits of created instances hold. If
    another process has placed the task meanwhile, the creation is rolled back.
    """
    with transaction.atomic():
        lock_trees(present_task(task_id).instance_id)
        note = _look(Reading.of(task_id), actor)
        if note is not None and isinstance(note.decision, CreateChild):
            _create(note, note.decision)
            # Last, because instances are locked before tasks (R6).
            note.lock()
    return Reading.of(task_id)


def _create(note: _Note, wanted: CreateChild) -> None:
    """Create and start a child of the holder.

    Raises BehaviorFailed if such a child is illegal, _Stale if the holder has closed.
    """
    try:
        instance = create_instance(
            wanted.name,
            scope=wanted.scope,
            instance_type=wanted.instance_type,
            parent_id=note.holder.pk,
            runtime_metadata={"created_for": note.task.pk, "created_at_epoch": note.task.epoch},
            actor=ROUTER,
        )
    except HopperError as error:
        if error.code == "parent_closed":
            raise _Stale from None
        words = f"{note.decided.behavior} failed: it creates {wanted.name!r}: {error}"
        raise BehaviorFailed(words, behavior=note.decided.behavior) from error
    start_instance(instance.pk, actor=ROUTER)
