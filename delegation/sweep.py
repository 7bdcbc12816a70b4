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
    from collections.abc import Iterable, Iterator

    from django.db.models import QuerySet

    from hopper.actors import Actor
    from instances.models.instance import Lineal
    from instances.models.task import TaskQuerySet

AT_ONCE = 500
"""How many of a kind one call deals with; the sweep comes back for the rest."""

REPLACE_PAUSE = timedelta(minutes=1)
"""How often an unroutable task is placed again because the tree changed, at most (R9)."""

_UNPLACED = ("Unroutable", "CapabilityGap")


def wake(instance_id: str, *, actor: Actor) -> None:
    """Answer and place what waited for an instance to run: itself, below it, and above (R8, R9).

    What a crash leaves out here, the sweep does.
    """
    below = HopperInstance.objects.under(instance_id).values("pk")
    answer_waiting_offers(TaskDelegation.objects.filter(target_instance__in=below), actor=actor)
    place_due(Task.objects.filter(instance__in=below), actor=actor)
    above = Task.objects.filter(instance__in=[one.id for one in _line(instance_id)])
    # Whoever is deciding about a task above may have read the tree as it was before: a task that
    # is due is placed first, under its lock, so that it is either placed now or found stuck below.
    place_due(above, actor=actor)
    _place_again(fair_pick(_stuck(above), AT_ONCE), actor)


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


def hopeless_offers(offers: QuerySet[TaskDelegation]) -> QuerySet[TaskDelegation]:
    """Return those of `offers` that pend at a target which takes none in its present state."""
    pending = offers.filter(status=D.PENDING).exclude(delegation_type=DelegationType.ESCALATE)
    closed = [
        pk
        for pk, line in _lines(pending.values_list("target_instance_id", flat=True))
        if not Standing.along(line).may("offer", by_name=True)
    ]
    return pending.filter(target_instance__in=closed)


def place_due(tasks: TaskQuerySet, *, limit: int = AT_ONCE, actor: Actor) -> int:
    """Place what is due at holders that may route (R9), hand up what any has failed (R15).

    Returns how many came to rest.
    """
    due = tasks.filter(route_due=True)
    routing = [
        pk
        for pk, line in _lines(due.values_list("instance_id", flat=True))
        if Standing.along(line).may("route")
    ]
    ready = due.filter(instance__in=routing) | due.given_up()
    ids = fair_pick(ready.order_by("id"), limit)
    return sum(try_to_place(task_id, actor=actor) for task_id in ids)


def replace_unplaced(*, limit: int = AT_ONCE, actor: Actor) -> int:
    """Place unroutable tasks again where something below changed since they got stuck (R9)."""
    stuck = Task.objects.in_bulk(fair_pick(_stuck(Task.objects.all()), limit))
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
    return _place_again(wanted, actor)


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


def _line(instance_id: str) -> list[Lineal]:
    return lineages([instance_id]).get(instance_id, [])


INTERVAL_SECONDS = 10
"""How often a looping sweeper comes round."""

ERROR_GRACE = timedelta(minutes=15)
_KEPT_ANSWERS = timedelta(hours=24)


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


def sweep(*, limit: int = 500, actor: Actor = SYSTEM) -> Swept:
    """Do all that is due now, at most `limit` of each kind; every write repeats its condition."""
    return Swept(
        leases_expired=expire_leases(limit=limit, actor=actor),
        offers_expired=_expire_offers(limit, actor),
        offers_withdrawn=_withdraw_hopeless_offers(limit, actor),
        offers_answered=answer_waiting_offers(
            TaskDelegation.objects.all(), limit=limit, actor=actor
        ),
        instances_settled=_settle(actor),
        instances_drained=_drain(actor),
        tasks_placed=place_due(Task.objects.all(), limit=limit, actor=actor)
        + replace_unplaced(limit=limit, actor=actor),
        tasks_reevaluated=_reevaluate(limit),
        answers_forgotten=_forget_answers(),
    )


def _expire_offers(limit: int, actor: Actor) -> int:
    overdue = TaskDelegation.objects.filter(status=D.PENDING, expires_at__lte=timezone.now())
    ids = list(overdue.order_by("expires_at").values_list("pk", flat=True)[:limit])
    return sum(Delegator(actor).expire_delegation(pk).status == D.EXPIRED for pk in ids)


def _withdraw_hopeless_offers(limit: int, actor: Actor) -> int:
    """Take back offers that slipped in below an instance while it stopped (R5)."""
    withdrawn = 0
    for pk in fair_pick(hopeless_offers(TaskDelegation.objects.order_by("pk")), limit):
        try:
            Delegator(actor).cancel_delegation(pk, code=Reason.TARGET_STOPPED)
            withdrawn += 1
        except HopperError:
            # Answered since it was read.
            continue
    return withdrawn


def _settle(actor: Actor) -> int:
    stopping = HopperInstance.objects.filter(status=I.STOPPING).order_by("pk")
    return sum(settle_instance(pk, actor=actor) for pk in stopping.values_list("pk", flat=True))


def _drain(actor: Actor) -> int:
    """Stop and empty what has reached its end, terminate an empty EVENT, evacuate long errors."""
    now = timezone.now()
    over = HopperInstance.objects.filter(
        Q(instance_type=InstanceType.TEMPORARY) | Q(scope="EVENT"), expires_at__lte=now
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
        instance=OuterRef("pk"), kind="instance.error", at__gte=now - ERROR_GRACE
    )
    failed = HopperInstance.objects.filter(~Exists(fresh), status=I.ERROR)
    for pk in failed.order_by("pk").values_list("pk", flat=True):
        drained += bool(evacuate_instance(pk, actor=actor))
    return drained


def _reevaluate(limit: int) -> int:
    """Look again at tasks that are not as their predecessors say (R23)."""
    return sum(
        reevaluate(pk) for rows in overlooked() for pk in fair_pick(rows.order_by("id"), limit)
    )


def _forget_answers() -> int:
    old = IdempotencyRecord.objects.filter(created_at__lt=timezone.now() - _KEPT_ANSWERS)
    return old.delete()[0]
