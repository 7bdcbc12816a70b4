"""Who stands where in a queue: the order of the next claims (R22)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from django.db import connection
from django.db.models import Case, F, Value, When, Window
from django.db.models.functions import RowNumber

from instances.models import Task
from instances.models.task import CLAIM_ORDER_SQL, CLAIMABLE_SQL

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime

    from django.db.models import QuerySet

    from instances.places import Place

LOOKED_AT = 100
"""How many behind the free places of a queue are counted when a page is shown."""

_ORDER = (F("queue_urgent").desc(), F("queue_at").asc(), F("id").asc())


@dataclass(frozen=True)
class Position:
    """Where a task stands in its queue, from 1, and for how many there is a place free."""

    place: int
    free: int

    @property
    def enough(self) -> bool:
        """Whether the free places are enough for it."""
        return self.place <= self.free


def positions(queues: Iterable[Place], now: datetime) -> dict[str, Position]:
    """Return how the claimable tasks of some queues stand, as far as is looked.

    One statement, which reads the head of each queue from its index: long queues cost no more.
    """
    wanted = list(queues)
    if not wanted:
        return {}
    heads = " UNION ALL ".join(
        f"""SELECT id, {one.free}, row_number() OVER (ORDER BY {CLAIM_ORDER_SQL})
        FROM (SELECT id, queue_urgent, queue_at FROM {Task._meta.db_table}
            WHERE instance_id = %(id{n})s AND {CLAIMABLE_SQL}
            ORDER BY {CLAIM_ORDER_SQL} LIMIT {one.free + LOOKED_AT}) AS head{n}"""  # noqa: S608
        for n, one in enumerate(wanted)
    )
    values = {f"id{n}": one.id for n, one in enumerate(wanted)}
    time = connection.ops.adapt_datetimefield_value(now)
    with connection.cursor() as cursor:
        cursor.execute(heads, {**values, "now": time})
        return {pk: Position(place, free) for pk, free, place in cursor.fetchall()}


def in_front(queues: Iterable[Place], now: datetime) -> QuerySet[Task, Any]:
    """Return the tasks that the free places of some queues are enough for, as a subquery."""
    by_free: dict[int, list[str]] = {}
    for one in queues:
        by_free.setdefault(one.free, []).append(one.id)
    ids = [pk for group in by_free.values() for pk in group]
    if not ids:
        return Task.objects.none()
    place = Window(RowNumber(), partition_by=F("instance_id"), order_by=_ORDER)
    free = Case(*(When(instance__in=group, then=Value(n)) for n, group in by_free.items()))
    line = Task.objects.claimable(now).filter(instance__in=ids).order_by()
    return line.annotate(place=place).filter(place__lte=free).values("pk")
