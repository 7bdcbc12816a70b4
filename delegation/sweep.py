"""The sweep: the due work of time and of crashes. Any number of sweepers may run (R21)."""

from __future__ import annotations

import logging
import math
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from datetime import datetime, timedelta
from functools import cached_property, partial
from secrets import randbelow
from typing import Any

from django.db import Error, connection, transaction
from django.db.models import Exists, F, Max, OuterRef, Q, QuerySet

from delegation.archive.batches import archive_due
from delegation.choices import DelegationStatus as D, DelegationType, Reason
from delegation.delegator import Delegator
from delegation.instance_changes import evacuate_instance
from delegation.models import TaskDelegation
from delegation.placing import place_task
from delegation.questions import overdue_questions, time_out_question
from hopper import database
from hopper.actors import SYSTEM, Actor
from hopper.config.registry import effective_settings
from hopper.errors import HopperError
from hopper.rest.limits import present_minute
from instances.allowances import Standing, queue_full
from instances.choices import InstanceStatus as I, InstanceType, TaskStatus as T
from instances.history import stamp_all
from instances.lifecycle.actions import stop_instance, terminate_instance
from instances.minutes import count_events
from instances.models import (
    Event,
    HopperInstance,
    IdempotencyRecord,
    LineageRow,
    RequestCount,
    SweepRecord,
    Task,
    TaskQuerySet,
    lineages,
)
from instances.queue_settings import queue_settings
from instances.tasks.changes import lock_task
from instances.tasks.dependencies import overlooked, reevaluate
from instances.tasks.editing import begin_placing_anew
from instances.tasks.leases import expire_lease, overdue_leases
from instances.tasks.sessions import end_left_session, left_sessions
from instances.tree.reads import waiting_at
from instances.tree.status import settle_instance

logger = logging.getLogger(__name__)

AT_ONCE = 500
"""The most rows of a kind in one round. The next round takes the rest."""

INTERVAL_SECONDS = 10
"""Seconds between two rounds of a looping sweeper."""

REPLACE_PAUSE = timedelta(minutes=1)
"""The least time between two new attempts to place a stuck task (R9)."""

ERROR_GRACE = timedelta(minutes=15)
_KEPT_ANSWERS = timedelta(hours=24)
_KEPT_MINUTES = 10
_UNPLACED = ("Unroutable", "CapabilityGap")


@dataclass(frozen=True)
class Round:
    """One round: for all instances, or along the line of the tree through `started`.

    It handles at most `limit` rows of a kind, and begins none after `until` (monotonic seconds).
    """

    actor: Actor
    limit: int = AT_ONCE
    until: float = math.inf
    started: str | None = None
    known: frozenset[str] = frozenset()
    failed: set[str] = field(default_factory=set)
    """The rows that failed in this round. Rows in `known` are not logged again."""

    @contextmanager
    def row(self, name: str) -> Iterator[None]:
        """Count and log a failure inside the block, so that the other rows are still handled.

        Raises if the connection is lost or the database takes no change at all, because then no
        other row can be handled either.
        """
        try:
            yield
        except Exception as error:
            lost = isinstance(error, Error) and not connection.is_usable()
            if lost or database.lasting_cause(error):
                raise
            self.failed.add(name)
            if name not in self.known:
                extra = {"event": "sweep_row_failed", "row": name}
                logger.exception("the sweep passes over %s", name, extra=extra)

    def each(self, ids: Iterable[str], do: Callable[[str], object]) -> int:
        """Call a function for each row. Return the number of rows that were changed."""
        done = 0
        for pk in ids:
            if time.monotonic() > self.until:
                break
            with self.row(pk):
                done += bool(do(pk))
        return done

    def where(
        self, instance_ids: QuerySet[Any], holds: Callable[[list[LineageRow]], bool]
    ) -> list[str]:
        """Return the distinct instances whose line from the root meets the condition."""
        lines, found = lineages(instance_ids.order_by().distinct()), []
        for pk, line in lines.items():
            with self.row(pk):
                if holds(line):
                    found.append(pk)
        return found

    def offers(self) -> QuerySet[TaskDelegation]:
        """Return the offers to `started` and below, or all offers."""
        offers = TaskDelegation.objects.all()
        return offers.filter(target_instance__in=self._below()) if self.started else offers

    def tasks(self) -> TaskQuerySet:
        """Return the tasks above, at and below `started`, or all tasks."""
        tasks = Task.objects.all()
        if not self.started:
            return tasks
        return tasks.filter(Q(instance__in=self._below()) | Q(instance__in=self.line))

    @cached_property
    def line(self) -> list[str]:
        """Return the instances from the root down to `started`."""
        (line,) = lineages([str(self.started)]).values()
        return [one.id for one in line]

    def _below(self) -> QuerySet[Any]:
        return HopperInstance.objects.under(str(self.started)).values("pk")


@dataclass(frozen=True)
class Duty:
    """One kind of due work: its name in the counts, and the function that does and counts it.

    `at_start`: the start of an instance also makes this work due.
    """

    counts_as: str
    do: Callable[[Round], int]
    at_start: bool = False


@dataclass(frozen=True)
class Swept:
    """The counts of a sweep."""

    leases_expired: int
    sessions_ended: int
    offers_expired: int
    offers_withdrawn: int
    offers_answered: int
    instances_settled: int
    instances_drained: int
    tasks_placed: int
    questions_timed_out: int
    tasks_reevaluated: int
    answers_forgotten: int
    tasks_archived: int
    rows_failed: int

    def total(self) -> int:
        """Return the sum of the counts."""
        return sum(asdict(self).values())


def sweep(*, limit: int = AT_ONCE, actor: Actor = SYSTEM, failing: set[str] | None = None) -> Swept:
    """Do all due work, at most `limit` of each kind. Every write checks its condition again.

    A row that fails is passed over, logged and counted. `failing` is the memory of a caller that
    sweeps again and again: the rows that failed before, which are not logged again.
    """
    everything = Round(actor, limit, known=frozenset(failing or ()))
    done: Counter[str] = Counter()
    for duty in DUTIES:
        with everything.row(duty.counts_as):
            done[duty.counts_as] += duty.do(everything)
    with everything.row("events"):
        stamp_all()
    with everything.row("counts"):
        count_events()
        RequestCount.forget(present_minute() - _KEPT_MINUTES)
    SweepRecord.note(database.now())
    if failing is not None:
        failing.clear()
        failing.update(everything.failed)
    counts = {duty.counts_as: done[duty.counts_as] for duty in DUTIES}
    return Swept(**counts, rows_failed=len(everything.failed))


def wake(instance_id: str, *, actor: Actor) -> None:
    """Do the work that the start of an instance makes due: at, below and above it (R8, R9).

    As much as one request does after its commit. The sweep does the rest, also after a crash.
    """
    if not _any_waits():
        return
    until = time.monotonic() + database.AFTER_COMMIT_SECONDS
    start = Round(actor, database.AFTER_COMMIT, until, started=instance_id)
    for duty in DUTIES:
        if duty.at_start:
            with start.row(duty.counts_as):
                duty.do(start)


def _any_waits() -> bool:
    """Return whether a task waits for a place or an offer for an answer. Mostly none does."""
    return (
        Task.objects.filter(route_due=True).exists()
        or Task.objects.filter(status=T.BLOCKED, waiting__code__in=_UNPLACED).exists()
        or TaskDelegation.objects.filter(status=D.PENDING).exists()
    )


def _place_due(this: Round) -> int:
    """Place due tasks at holders that may route (R9); escalate tasks that failed for good (R15).

    Returns the number of tasks that came to rest.
    """
    due = this.tasks().filter(route_due=True)
    holders = due.values_list("instance_id", flat=True)
    routing = this.where(holders, lambda line: Standing.along(line).may("route"))
    ready = due.filter(instance__in=routing) | due.awaiting_escalation()

    def place(task_id: str) -> bool:
        return not place_task(task_id, actor=this.actor).route_due

    return this.each(fair_pick(ready.order_by("id"), this.limit), place)


def _place_stuck(this: Round) -> int:
    """Place stuck tasks again after a change below their holder (R9).

    The start of an instance is such a change for every stuck task above. A decision may read the
    tree before the start and block its task afterwards. So a start compares no times.
    """
    again = partial(_place_again, actor=this.actor)
    if this.started:
        above = Task.objects.filter(instance__in=this.line)
        return this.each(fair_pick(_stuck(above), this.limit), again)
    stuck = fair_pick(_stuck(Task.objects.all()), this.limit)
    return this.each(_changed_since(this, stuck), again)


def _changed_since(this: Round, task_ids: list[str]) -> list[str]:
    """Return the stuck tasks with a change below their holder since they got stuck.

    A queue with room again counts as a change for as many tasks as there is room.
    """
    # The next query selects them again: a person may have unblocked some meanwhile.
    stuck = {task.pk: task for task in _stuck(Task.objects.filter(pk__in=task_ids))}
    changed = _last_changes({str(task.instance_id) for task in stuck.values()})
    targets = HopperInstance.objects.in_bulk(
        [pk for task in stuck.values() for pk in task.waiting.get("full", ())]
    )
    queued = Counter(waiting_at(targets))

    def has_room(pk: str) -> bool:
        most = queue_settings(targets[pk].scope, targets[pk].config).max_queued_tasks
        return not queue_full(pk, queued[pk], most)

    def is_wanted(task_id: str) -> bool:
        task = stuck[task_id]
        since = datetime.fromisoformat(task.waiting["since"])
        moved = changed.get(str(task.instance_id))
        if moved is not None and moved > since:
            return True
        free = next(filter(has_room, task.waiting.get("full", ())), None)
        if free is not None:
            queued[free] += 1
        return free is not None

    wanted = []
    for task_id in stuck:
        with this.row(task_id):
            if is_wanted(task_id):
                wanted.append(task_id)
    return wanted


def fair_pick(rows: QuerySet[Any], limit: int) -> list[str]:
    """Return up to `limit` keys in order. If there are more, start at a random key and wrap.

    So no row waits for ever behind rows that a round reads but cannot change.
    """
    keys = rows.values_list("pk", flat=True)
    first = list(keys[: limit + 1])
    if len(first) <= limit:
        return first
    start = randbelow(max(rows.count(), limit))
    picked = list(keys[start : start + limit])
    return picked + list(keys[: limit - len(picked)])


def _place_again(task_id: str, actor: Actor) -> bool:
    """Begin a new epoch for a stuck task. The condition is checked again under the lock."""
    with transaction.atomic():
        task = lock_task(task_id)
        if not _stuck(Task.objects.filter(pk=task_id)).exists():
            return False
        return begin_placing_anew(task, actor=actor, now=database.now(), reason="tree_changed")


def _stuck(tasks: QuerySet[Task]) -> QuerySet[Task]:
    """Return those of the stuck `tasks` that may be placed again now (R9)."""
    again = Event.objects.filter(
        task=OuterRef("pk"),
        kind="task.rerouted",
        at__gt=database.now() - REPLACE_PAUSE,
        data__reason="tree_changed",
    )
    stuck = tasks.filter(~Exists(again), status=T.BLOCKED, waiting__code__in=_UNPLACED)
    return stuck.order_by("id")


def _last_changes(holder_ids: Iterable[str]) -> dict[str, datetime | None]:
    """Return for each holder the time of the last start or configuration below."""
    since_made = Q(status__in=(I.CREATED, I.STARTING), updated_at__gt=F("created_at"))
    return {
        pk: HopperInstance.objects.under(pk)
        .filter(Q(status=I.RUNNING) | since_made)
        .aggregate(last=Max("updated_at"))["last"]
        for pk in holder_ids
    }


def _expire_leases(this: Round) -> int:
    overdue = {task.pk: task for task in overdue_leases(limit=this.limit)}
    return this.each(overdue, lambda pk: expire_lease(overdue[pk], this.actor))


def _end_sessions(this: Round) -> int:
    """Give the leases of the sessions back whose agents have left (R21)."""
    return this.each(left_sessions(this.limit), partial(end_left_session, actor=this.actor))


def _expire_offers(this: Round) -> int:
    overdue = TaskDelegation.objects.filter(status=D.PENDING, expires_at__lte=database.now())
    ids = list(overdue.order_by("expires_at").values_list("pk", flat=True)[: this.limit])
    expire = Delegator(this.actor).expire_delegation
    return this.each(ids, lambda pk: expire(pk).status == D.EXPIRED)


def _withdraw_closed_offers(this: Round) -> int:
    """Cancel offers to closed instances, which were made while the instance stopped (R5)."""
    pending = TaskDelegation.objects.filter(status=D.PENDING).exclude(
        delegation_type=DelegationType.ESCALATE
    )
    targets = pending.values_list("target_instance_id", flat=True)
    closed = this.where(targets, lambda line: not Standing.along(line).may("offer", by_name=True))
    withdraw = partial(Delegator(this.actor).cancel_delegation, code=Reason.TARGET_STOPPED)
    found = fair_pick(pending.filter(target_instance__in=closed).order_by("pk"), this.limit)
    # The offer may have been answered since the read.
    return this.each(found, lambda pk: _unless_refused(withdraw, pk))


def _answer_offers(this: Round) -> int:
    return answer_waiting_offers(this, this.offers())


def answer_waiting_offers(this: Round, offers: QuerySet[TaskDelegation]) -> int:
    """Ask targets that run now for the answers to their waiting offers (R8)."""
    waiting = offers.filter(status=D.PENDING, explicit=False)

    def manual(line: list[LineageRow]) -> bool:
        own = line[-1]
        return bool(effective_settings(own.scope, own.config)["accept"] == "manual")

    targets = waiting.values_list("target_instance_id", flat=True)
    running = this.where(targets, lambda line: Standing.along(line).may("accept"))
    if not running:
        return 0
    by_hand = this.where(targets.filter(target_instance__in=running), manual)
    can = waiting.filter(target_instance__in=running).exclude(
        ~Q(delegation_type=DelegationType.ESCALATE), target_instance__in=by_hand
    )

    def answer(pk: str) -> bool:
        return not Delegator(this.actor).answer_waiting(pk).is_pending

    # An offer that the target cannot accept waits until it expires.
    found = fair_pick(can.order_by("delegated_at", "id"), this.limit)
    return this.each(found, lambda pk: _unless_refused(answer, pk))


def _unless_refused(do: Callable[[str], object], pk: str) -> bool:
    """Call a function for a row. Return whether the row changed; false after a refusal."""
    try:
        return bool(do(pk))
    except HopperError:
        return False


def _settle(this: Round) -> int:
    stopping = HopperInstance.objects.filter(status=I.STOPPING).order_by("pk")
    return this.each(
        stopping.values_list("pk", flat=True), partial(settle_instance, actor=this.actor)
    )


def _drain(this: Round) -> int:
    """Drain instances after their end, terminate empty EVENTs, evacuate long errors (R2, R5)."""
    moment, actor = database.now(), this.actor
    over = HopperInstance.objects.filter(
        Q(instance_type=InstanceType.TEMPORARY) | Q(scope="EVENT"), expires_at__lte=moment
    )
    ids = over.order_by("pk").values_list("pk", flat=True)
    stop = partial(stop_instance, evacuate=True, actor=actor)
    # Another transaction may have changed the instance since the read.
    open_still = ids.filter(status__in=(I.STARTING, I.RUNNING, I.PAUSED))
    drained = this.each(open_still, lambda pk: _unless_refused(stop, pk))
    # In every round: a task leased at the end may return to its queue much later.
    ended = (I.STOPPING, I.STOPPED)
    evacuate = partial(evacuate_instance, actor=actor)
    drained += this.each(ids.filter(status__in=ended), partial(evacuate, found=ended))
    # A person has to handle an instance that is not empty.
    terminate = partial(terminate_instance, actor=actor)
    events = ids.filter(status=I.STOPPED, scope="EVENT")
    drained += this.each(events, lambda pk: _unless_refused(terminate, pk))
    failed = HopperInstance.objects.filter(status=I.ERROR).order_by("pk")
    long = (pk for pk in failed.values_list("pk", flat=True) if not _failed_since(pk, moment))
    return drained + this.each(long, evacuate)


def _failed_since(pk: str, moment: datetime) -> bool:
    """Return whether the error of an instance is younger than its grace; an edit is no error."""
    errors = Event.objects.filter(instance=pk, kind="instance.error").order_by("-pk")
    newest = errors.values_list("at", flat=True).first()
    return newest is not None and newest >= moment - ERROR_GRACE


def _reevaluate(this: Round) -> int:
    """Update tasks whose `ready` differs from their predecessors (R23)."""
    return sum(
        this.each(fair_pick(rows.order_by("id"), this.limit), reevaluate) for rows in overlooked()
    )


def _time_out_questions(this: Round) -> int:
    due = fair_pick(overdue_questions(), this.limit)
    return this.each(due, partial(time_out_question, actor=this.actor))


def _forget_answers(this: Round) -> int:
    old = IdempotencyRecord.objects.filter(created_at__lt=database.now() - _KEPT_ANSWERS)
    return old.delete()[0]


DUTIES = (
    Duty("leases_expired", _expire_leases),
    Duty("sessions_ended", _end_sessions),
    Duty("offers_expired", _expire_offers),
    Duty("offers_withdrawn", _withdraw_closed_offers),
    Duty("offers_answered", _answer_offers, at_start=True),
    Duty("instances_settled", _settle),
    Duty("instances_drained", _drain),
    # Before the stuck tasks: a due task is placed now, or becomes stuck and is next.
    Duty("tasks_placed", _place_due, at_start=True),
    Duty("tasks_placed", _place_stuck, at_start=True),
    Duty("tasks_reevaluated", _reevaluate),
    Duty("questions_timed_out", _time_out_questions),
    Duty("answers_forgotten", _forget_answers),
    Duty("tasks_archived", lambda this: archive_due(this.limit)),
)
"""All kinds of due work, in the order of a round."""
