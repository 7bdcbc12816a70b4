"""What an audit looks at: everything, or what the latest events speak of."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from django.db import connection
from django.db.models import Max, Min

from instances.models import CheckRecord, Event, Task, TaskDependency

if TYPE_CHECKING:
    from datetime import datetime

    from delegation.audit import Finding

Breaches = Iterator[tuple[str, str]]

TWO_SWEEPS = timedelta(seconds=20)
"""What may be left to the sweep for so long (R21)."""

_OVERLAP = timedelta(minutes=5)
"""How much earlier than asked the look begins: an event may commit long after its time."""

_STEP = 10_000
"""So many events in a row that are older say that nothing before them is newer."""


@dataclass(frozen=True)
class Extent:
    """The moment of an audit, and the event after which changes are looked at (None: all).

    Each method narrows a queryset by one column, so that indexes lead to the few rows.
    """

    now: datetime
    after: int | None = None

    @classmethod
    def since(cls, moment: datetime | None, now: datetime) -> Extent:
        """Return the extent of all that changed since a moment; None: everything."""
        if moment is None:
            return cls(now)
        return cls(now, _last_before(moment - _OVERLAP))

    @property
    def whole(self) -> bool:
        """Whether everything is looked at."""
        return self.after is None

    def tasks(self, rows: Any, column: str = "pk") -> Any:
        """Keep the rows whose `column` names a task that changed."""
        return rows if self.whole else rows.filter(**{f"{column}__in": self._tasks()})

    def families(self, rows: Any, column: str = "pk") -> Any:
        """Keep the rows whose `column` names a task that changed, or the parent of one."""
        if self.whole:
            return rows
        changed = Task.objects.filter(pk__in=self._tasks()).order_by()
        parents = changed.filter(parent__isnull=False).values("parent_id")
        return rows.filter(**{f"{column}__in": self._tasks().union(parents)})

    def dependants(self, rows: Any) -> Any:
        """Keep the tasks that changed, or that depend on one that did."""
        if self.whole:
            return rows
        after = TaskDependency.objects.filter(depends_on__in=self._tasks()).values("task_id")
        return rows.filter(pk__in=self._tasks().union(after))

    def instances(self, rows: Any, column: str = "pk") -> Any:
        """Keep the rows whose `column` names an instance of which an event speaks."""
        if self.whole:
            return rows
        told = self.events().filter(instance__isnull=False).order_by()
        return rows.filter(**{f"{column}__in": told.values("instance_id")})

    def events(self) -> Any:
        """Return the events looked at."""
        return Event.objects.all() if self.whole else Event.objects.filter(pk__gt=self.after)

    def _tasks(self) -> Any:
        told = self.events().filter(task__isnull=False).order_by()
        return told.values("task_id")

    def sql(self, column: str, of: str = "task_id") -> tuple[str, list[Any]]:
        """Return the condition that `column` names a changed task (or `of`), and its parameters."""
        if self.whole:
            return "1 = 1", []
        told = self.events().filter(**{f"{of}__isnull": False}).order_by().values(of)
        changed, parameters = told.query.sql_with_params()
        return f"{column} IN ({changed})", list(parameters)


def _last_before(moment: datetime) -> int:
    """Return the number after which all events since a moment come.

    Numbers follow times but for what commits late or comes by a slow clock, so that one old event
    says nothing: back it goes, in growing steps, to a step without a new one. That costs what has
    happened since.
    """
    events = Event.objects.order_by()
    last = events.aggregate(last=Max("pk"))["last"] or 0
    step, end = _STEP, last
    while end > 0:
        new = events.filter(pk__gt=end - step, pk__lte=end, at__gte=moment)
        first = new.aggregate(first=Min("pk"))["first"]
        if first is None:
            break
        last, end, step = first - 1, end - step, step * 2
    return last


Question = Callable[[Extent], Iterable[tuple[str, str]]]


def table(model: Any) -> str:
    """Return the quoted name of a model's table."""
    return str(connection.ops.quote_name(model._meta.db_table))


def rows_of(sql: str, parameters: Iterable[Any]) -> list[tuple[Any, ...]]:
    """Return the rows of a statement."""
    with connection.cursor() as cursor:
        cursor.execute(sql, list(parameters))
        return list(cursor.fetchall())


KEPT = 100
"""Records that are kept, besides the last that was sound."""


def last_sound() -> datetime | None:
    """Return when the latest check began that found everything sound, or None."""
    record = CheckRecord.latest(broken=[])
    return record.began_at if record else None


def remember(
    findings: Iterable[Finding], *, began_at: datetime, seconds: float, since: datetime | None
) -> bool:
    """Keep the result of a check of all invariants; return whether it speaks of the whole.

    One that began later than everything was last known to be sound speaks of a part only.
    """
    sound = last_sound()
    if since is not None and (sound is None or since > sound):
        return False
    broken = {found.invariant for found in findings}
    record = CheckRecord.objects.create(
        began_at=began_at,
        seconds=seconds,
        since=since,
        broken=sorted(broken, key=lambda number: int(number[1:])),
    )
    old = CheckRecord.objects.filter(pk__lte=record.pk - KEPT)
    if base := CheckRecord.latest(broken=[]):
        old = old.exclude(pk=base.pk)
    old.delete()
    return True
