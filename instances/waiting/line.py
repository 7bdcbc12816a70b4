"""The order of the claimable tasks in a queue (R22)."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from django.db import connection
from django.db.models import BooleanField, Case, OuterRef, Q, Subquery, Value, When
from django.db.models.lookups import Exact

from instances.models import CLAIM_ORDER_SQL, HopperInstance, Task, claimable_sql
from instances.waiting.places import Place

LOOKED_AT = 100
"""The most tasks behind the free slots that are counted when a page is shown."""

_ORDER = ("-queue_urgent", "queue_at", "id")


@dataclass(frozen=True)
class Position:
    """The position of a task in its queue, from 1, and the number of free slots."""

    place: int
    free: int

    @property
    def enough(self) -> bool:
        """Whether a free slot is left for the task."""
        return self.place <= self.free


def positions(queues: Iterable[Place], now: datetime) -> dict[str, Position]:
    """Return the positions of the claimable tasks in the queues of a page.

    One statement reads the head of each queue from its index, so long queues cost no more.
    """
    wanted = list(queues)
    if not wanted:
        return {}
    heads = " UNION ALL ".join(
        f"""SELECT id, {one.free}, row_number() OVER (ORDER BY {CLAIM_ORDER_SQL})
        FROM (SELECT id, queue_urgent, queue_at FROM {Task._meta.db_table}
            WHERE instance_id = %(id{n})s AND {claimable_sql()}
            ORDER BY {CLAIM_ORDER_SQL} LIMIT {one.free + LOOKED_AT}) AS head{n}"""  # noqa: S608
        for n, one in enumerate(wanted)
    )
    values = {f"id{n}": one.id for n, one in enumerate(wanted)}
    time = connection.ops.adapt_datetimefield_value(now)
    with connection.cursor() as cursor:
        cursor.execute(heads, {**values, "now": time})
        return {pk: Position(place, free) for pk, free, place in cursor.fetchall()}


def behind(queues: Iterable[Place], now: datetime) -> Q:
    """Return the condition that a task of these queues stands behind the free slots.

    Two queries find the last task of each queue that has a slot.
    """
    last = list(Task.objects.filter(pk__in=_last_in_front(queues, now)))
    if not last:
        return Q(pk__in=())
    # One look-up for each row: there may be hundreds of queues.
    after = Case(
        *(When(instance=task.instance_id, then=_after(task)) for task in last),
        default=Value(False),
        output_field=BooleanField(),
    )
    return Q(instance__in=[task.instance_id for task in last]) & Q(Exact(after, Value(True)))


def _after(last: Task) -> Q:
    """Return the condition that a task of the same queue is claimed after `last` (R22)."""
    later = Q(queue_at__gt=last.queue_at) | Q(queue_at=last.queue_at, pk__gt=last.pk)
    urgent = Q(queue_urgent=last.queue_urgent)
    return (urgent & later) | Q(queue_urgent__lt=last.queue_urgent)


def _last_in_front(queues: Iterable[Place], now: datetime) -> set[str]:
    """Return the last task with a free slot of each queue that is longer than its free slots."""
    by_free: dict[int, list[str]] = {}
    for one in queues:
        by_free.setdefault(one.free, []).append(one.id)
    line = Task.objects.claimable(now).filter(instance=OuterRef("pk")).order_by(*_ORDER)
    rows = [
        HopperInstance.objects.filter(pk__in=ids)
        .order_by()
        .values_list(Subquery(line.values("pk")[free - 1 : free]))
        for free, ids in sorted(by_free.items())
    ]
    if not rows:
        return set()
    found = rows[0].union(*rows[1:], all=True) if rows[1:] else rows[0]
    return {pk for (pk,) in found if pk}
