"""The sweep: whatever time or a crash left to do; any number of sweepers may run (R21)."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from datetime import timedelta

from django.db.models import Exists, OuterRef, Q
from django.utils import timezone

from delegation.choices import DelegationStatus as D
from delegation.choices import Reason
from delegation.models import TaskDelegation
from delegation.services.delegator import Delegator
from delegation.services.upheaval import evacuate_instance
from delegation.services.waking import (
    answer_waiting_offers,
    fair_pick,
    hopeless_offers,
    place_due,
    replace_unplaced,
)
from hopper.actors import SYSTEM, Actor
from hopper.errors import HopperError
from instances.choices import InstanceStatus as I
from instances.choices import InstanceType
from instances.models import Event, HopperInstance, IdempotencyRecord, Task
from instances.services.dependencies import overlooked, reevaluate
from instances.services.leases import expire_leases
from instances.services.lifecycle import stop_instance, terminate_instance
from instances.services.settling import settle_instance

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
