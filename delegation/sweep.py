"""The sweep: whatever time or a crash left to do; any number of sweepers may run (R21)."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from secrets import randbelow
from typing import TYPE_CHECKING, Any

from django.db import transaction
from django.db.models import Exists, F, Max, OuterRef, Q
from django.utils import timezone

from delegation.choices import DelegationStatus as D
from delegation.choices import DelegationType, Reason
from delegation.delegator import Delegator
from delegation.instance_changes import evacuate_instance
from delegation.models import TaskDelegation
from delegation.placing import try_to_place
from hopper.actors import SYSTEM, Actor
from hopper.config.settings import effective_settings
from hopper.errors import HopperError
from instances.allowances import Standing, queue_full
from instances.choices import InstanceStatus as I
from instances.choices import InstanceType
from instances.choices import TaskStatus as T
from instances.config import queue_settings
from instances.history import stamp_all
from instances.lifecycle.actions import stop_instance, terminate_instance
from instances.models import Event, HopperInstance, IdempotencyRecord, Task
from instances.models.instance import lineages
from instances.tasks.changes import lock_task
from instances.tasks.dependencies import overlooked, reevaluate
from instances.tasks.editing import begin_placing_anew
from instances.tasks.leases import expire_leases
from instances.tree.reads import waiting_at
from instances.tree.status import settle_instance

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from django.db.models import QuerySet

    from hopper.actors import Actor
    from instances.models.instance import Lineal
    from instances.models.task import TaskQuerySet

AT_ONCE = 500
"""How many of a kind one round deals with; the next round takes the rest."""

INTERVAL_SECONDS = 10
"""How often a looping sweeper comes round."""

REPLACE_PAUSE = timedelta(minutes=1)
"""How often an unroutable task is placed again because the tree changed, at most (R9)."""

ERROR_GRACE = timedelta(minutes=15)
_KEPT_ANSWERS = timedelta(hours=24)
_UNPLACED = ("Unroutable", "CapabilityGap")


@dataclass(frozen=True)
class Round:
    """One round of duties: for all instances, or along the line of the tree through `started`."""

    actor: Actor
    limit: int = AT_ONCE
    started: str | None = None

    def offers(self) -> QuerySet[TaskDelegation]:
        """Return the offers to `started` and below it, or all."""
        offers = TaskDelegation.objects.all()
        return offers.filter(target_instance__in=self._below()) if self.started else offers

    def tasks(self) -> TaskQuerySet:
        """Return the tasks above, at and below `started`, or all."""
        tasks = Task.objects.all()
        if not self.started:
            return tasks
        return tasks.filter(Q(instance__in=self._below()) | Q(instance__in=self.line()))

    def line(self) -> list[str]:
        """Return the instances from the root down to `started`."""
        (line,) = lineages([str(self.started)]).values()
        return [one.id for one in line]

    def _below(self) -> QuerySet[Any]:
        return HopperInstance.objects.under(str(self.started)).values("pk")


@dataclass(frozen=True)
class Duty:
    """One kind of work that falls due: what it counts as, and what does it and counts.

    `at_start`: the start of an instance makes it due too.
    """

    counts_as: str
    do: Callable[[Round], int]
    at_start: bool = False


@dataclass(frozen=True)
class Swept:
    """How many of each the sweep dealt with."""

    leases_expired: int
    offers_expired: int
    offers_withdrawn: int
    offers_answered: int
    instances_settled: int
    instances_drained: int
    tasks_placed: int
    tasks_reevaluated: int
    answers_forgotten: int

    def total(self) -> int:
        """Return how much there was to do in all."""
        return sum(asdict(self).values())


def sweep(*, limit: int = AT_ONCE, actor: Actor = SYSTEM) -> Swept:
    """Do all that is due now, at most `limit` of each kind; every write repeats its condition."""
    everything = Round(actor, limit)
    done: Counter[str] = Counter()
    for duty in DUTIES:
        done[duty.counts_as] += duty.do(everything)
    stamp_all()
    return Swept(**done)


def wake(instance_id: str, *, actor: Actor) -> None:
    """Do what the start of an instance makes due: at it, below it and above it (R8, R9).

    If a crash prevents this, the sweep does it.
    """
    start = Round(actor, started=instance_id)
    for duty in DUTIES:
        if duty.at_start:
            duty.do(start)


def answer_waiting_offers(
    offers: QuerySet[TaskDelegation], *, limit: int = AT_ONCE, actor: Actor
) -> int:
    """Have the targets answer offers that waited only for them to run; return how many changed."""
    waiting = offers.filter(status=D.PENDING, explicit=False)
    running, manual = [], []
    for pk, line in _lines(waiting.values_list("target_instance_id", flat=True)):
        if Standing.along(line).may("accept"):
            running.append(pk)
            if effective_settings(line[-1].scope, line[-1].config)["accept"] == "manual":
                manual.append(pk)
    can = waiting.filter(target_instance__in=running).exclude(
        ~Q(delegation_type=DelegationType.ESCALATE), target_instance__in=manual
    )
    changed = 0
    for pk in fair_pick(can.order_by("delegated_at", "id"), limit):
        try:
            changed += not Delegator(actor).answer_waiting(pk).is_pending
        except HopperError:
            # It cannot be accepted there; it goes on waiting until it expires.
            continue
    return changed


def _place_due(this: Round) -> int:
    """Place due tasks at holders that may route (R9), hand up what any holder has failed (R15).

    Returns how many came to rest.
    """
    due = this.tasks().filter(route_due=True)
    lines = _lines(due.values_list("instance_id", flat=True))
    routing = [pk for pk, line in lines if Standing.along(line).may("route")]
    ready = due.filter(instance__in=routing) | due.given_up()
    ids = fair_pick(ready.order_by("id"), this.limit)
    return sum(try_to_place(task_id, actor=this.actor) for task_id in ids)


def _place_stuck(this: Round) -> int:
    """Place unroutable tasks again after a change below their holder (R9).

    A start is such a change for every stuck task above it. A decision that read the tree before the
    start may block its task after it, so no times are compared then.
    """
    if this.started:
        above = Task.objects.filter(instance__in=this.line())
        return _place_again(fair_pick(_stuck(above), this.limit), this.actor)
    return _place_again(
        _changed_since(fair_pick(_stuck(Task.objects.all()), this.limit)), this.actor
    )


def _changed_since(task_ids: Iterable[str]) -> list[str]:
    """Return the stuck tasks below whose holder something changed since they got stuck.

    A full queue that has room again counts for as many tasks as it has room for.
    """
    stuck = Task.objects.in_bulk(list(task_ids))
    changed = _last_changes({str(task.instance_id) for task in stuck.values()})
    targets = HopperInstance.objects.in_bulk(
        [pk for task in stuck.values() for pk in task.waiting.get("full", ())]
    )
    queued = Counter(waiting_at(targets))

    def has_room(pk: str) -> bool:
        most = queue_settings(targets[pk].scope, targets[pk].config).max_queued_tasks
        return not queue_full(pk, queued[pk], most)

    wanted = []
    for task in stuck.values():
        since = datetime.fromisoformat(task.waiting["since"])
        moved = changed.get(str(task.instance_id))
        free = next(filter(has_room, task.waiting.get("full", ())), None)
        if moved is not None and moved > since:
            wanted.append(task.pk)
        elif free is not None:
            queued[free] += 1
            wanted.append(task.pk)
    return wanted


def fair_pick(rows: QuerySet[Any], limit: int) -> list[str]:
    """Return up to `limit` keys in order, round from a random one where there are more.

    So nothing waits for ever behind rows that are looked at and stay.
    """
    keys, total = rows.values_list("pk", flat=True), rows.count()
    if total <= limit:
        return list(keys)
    start = randbelow(total)
    picked = list(keys[start : start + limit])
    return picked + list(keys[: limit - len(picked)])


def _place_again(task_ids: Iterable[str], actor: Actor) -> int:
    """Begin a new epoch for tasks that are stuck; the condition is repeated under the lock."""
    placed = 0
    for task_id in task_ids:
        with transaction.atomic():
            task = lock_task(task_id)
            if _stuck(Task.objects.filter(pk=task_id)).exists():
                now = timezone.now()
                placed += begin_placing_anew(task, actor=actor, now=now, reason="tree_changed")
    return placed


def _stuck(tasks: QuerySet[Task]) -> QuerySet[Task]:
    """Return the unroutable ones among `tasks` that may be placed again now (R9)."""
    again = Event.objects.filter(
        task=OuterRef("pk"),
        kind="task.rerouted",
        at__gt=timezone.now() - REPLACE_PAUSE,
        data__reason="tree_changed",
    )
    stuck = tasks.filter(~Exists(again), status=T.BLOCKED, waiting__code__in=_UNPLACED)
    return stuck.order_by("id")


def _last_changes(holder_ids: Iterable[str]) -> dict[str, datetime | None]:
    """Return, by holder, when last an instance below it began to run or was configured."""
    since_made = Q(status__in=(I.CREATED, I.STARTING), updated_at__gt=F("created_at"))
    return {
        pk: HopperInstance.objects.under(pk)
        .filter(Q(status=I.RUNNING) | since_made)
        .aggregate(last=Max("updated_at"))["last"]
        for pk in holder_ids
    }


def _lines(instance_ids: QuerySet[Any]) -> Iterator[tuple[str, list[Lineal]]]:
    """Yield each distinct instance with its line from the root, two queries for all."""
    yield from lineages(instance_ids.order_by().distinct()).items()


def _expire_leases(this: Round) -> int:
    return expire_leases(limit=this.limit, actor=this.actor)


def _expire_offers(this: Round) -> int:
    overdue = TaskDelegation.objects.filter(status=D.PENDING, expires_at__lte=timezone.now())
    ids = list(overdue.order_by("expires_at").values_list("pk", flat=True)[: this.limit])
    return sum(Delegator(this.actor).expire_delegation(pk).status == D.EXPIRED for pk in ids)


def _withdraw_closed_offers(this: Round) -> int:
    """Cancel the offers to instances that take none, made while the instance stopped (R5)."""
    pending = TaskDelegation.objects.filter(status=D.PENDING).exclude(
        delegation_type=DelegationType.ESCALATE
    )
    lines = _lines(pending.values_list("target_instance_id", flat=True))
    closed = [pk for pk, line in lines if not Standing.along(line).may("offer", by_name=True)]
    withdrawn = 0
    for pk in fair_pick(pending.filter(target_instance__in=closed).order_by("pk"), this.limit):
        try:
            Delegator(this.actor).cancel_delegation(pk, code=Reason.TARGET_STOPPED)
            withdrawn += 1
        except HopperError:
            # Answered since it was read.
            continue
    return withdrawn


def _answer_offers(this: Round) -> int:
    return answer_waiting_offers(this.offers(), limit=this.limit, actor=this.actor)


def _settle(this: Round) -> int:
    stopping = HopperInstance.objects.filter(status=I.STOPPING).order_by("pk")
    return sum(
        settle_instance(pk, actor=this.actor) for pk in stopping.values_list("pk", flat=True)
    )


def _drain(this: Round) -> int:
    """Stop and empty what has reached its end, terminate an empty EVENT, evacuate long errors."""
    moment, actor = timezone.now(), this.actor
    over = HopperInstance.objects.filter(
        Q(instance_type=InstanceType.TEMPORARY) | Q(scope="EVENT"), expires_at__lte=moment
    )
    drained = 0
    for pk in over.filter(status__in=(I.STARTING, I.RUNNING, I.PAUSED)).values_list(
        "pk", flat=True
    ):
        try:
            stop_instance(pk, evacuate=True, actor=actor)
            drained += 1
        except HopperError:
            # Somebody else changed it since it was read.
            continue
    # Again and again: what was leased at the end may come back long after it.
    ended = (I.STOPPING, I.STOPPED)
    for pk in over.filter(status__in=ended).values_list("pk", flat=True):
        drained += bool(evacuate_instance(pk, found=ended, actor=actor))
    for pk in over.filter(status=I.STOPPED, scope="EVENT").values_list("pk", flat=True):
        try:
            terminate_instance(pk, actor=actor)
            drained += 1
        except HopperError:
            # Not empty yet: somebody has to deal with what is left.
            continue
    # Since it failed, not since it was last edited.
    fresh = Event.objects.filter(
        instance=OuterRef("pk"), kind="instance.error", at__gte=moment - ERROR_GRACE
    )
    failed = HopperInstance.objects.filter(~Exists(fresh), status=I.ERROR)
    for pk in failed.order_by("pk").values_list("pk", flat=True):
        drained += bool(evacuate_instance(pk, actor=actor))
    return drained


def _reevaluate(this: Round) -> int:
    """Look again at tasks that are not as their predecessors say (R23)."""
    return sum(
        reevaluate(pk) for rows in overlooked() for pk in fair_pick(rows.order_by("id"), this.limit)
    )


def _forget_answers(this: Round) -> int:
    old = IdempotencyRecord.objects.filter(created_at__lt=timezone.now() - _KEPT_ANSWERS)
    return old.delete()[0]


DUTIES = (
    Duty("leases_expired", _expire_leases),
    Duty("offers_expired", _expire_offers),
    Duty("offers_withdrawn", _withdraw_closed_offers),
    Duty("offers_answered", _answer_offers, at_start=True),
    Duty("instances_settled", _settle),
    Duty("instances_drained", _drain),
    # Before the stuck tasks: a due task is placed now, under its lock, or found stuck next.
    Duty("tasks_placed", _place_due, at_start=True),
    Duty("tasks_placed", _place_stuck, at_start=True),
    Duty("tasks_reevaluated", _reevaluate),
    Duty("answers_forgotten", _forget_answers),
)
"""All that falls due, in the order in which a round does it."""
