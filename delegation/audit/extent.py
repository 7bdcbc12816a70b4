"""The extent of an audit: all rows, or the rows that recent events name."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from string import Formatter
from typing import TYPE_CHECKING, Any

from django.db import connection
from django.db.models import Max, Min

from instances.models import CheckRecord, Event, Task, TaskDependency

if TYPE_CHECKING:
    from delegation.audit import Finding

Breaches = Iterator[tuple[str, str]]

TWO_SWEEPS = timedelta(seconds=20)
"""The longest wait of due work for the sweep (R21)."""

_OVERLAP = timedelta(minutes=5)
"""The audit begins this much before `since`: an event may commit long after its time."""

_STEP = 10_000
"""After so many older events in a row, no earlier event is newer."""


@dataclass(frozen=True)
class Extent:
    """The time of an audit, and the event after which changes are read (None: all).

    Each method narrows a queryset by one column, so that indexes lead to the few rows.
    """

    now: datetime
    after: int | None = None

    @classmethod
    def since(cls, moment: datetime | None, now: datetime) -> Extent:
        """Return the extent of the changes since a time; None means all rows."""
        if moment is None:
            return cls(now)
        return cls(now, _last_before(moment - _OVERLAP))

    @property
    def whole(self) -> bool:
        """Whether the audit reads all rows."""
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
        """Keep the tasks that changed, or that depend on a changed task."""
        if self.whole:
            return rows
        after = TaskDependency.objects.filter(depends_on__in=self._tasks()).values("task_id")
        return rows.filter(pk__in=self._tasks().union(after))

    def instances(self, rows: Any, column: str = "pk") -> Any:
        """Keep the rows whose `column` names an instance of a recent event."""
        if self.whole:
            return rows
        events = self.events().filter(instance__isnull=False).order_by()
        return rows.filter(**{f"{column}__in": events.values("instance_id")})

    def events(self) -> Any:
        """Return the events in the extent."""
        return Event.objects.all() if self.whole else Event.objects.filter(pk__gt=self.after)

    def _tasks(self) -> Any:
        events = self.events().filter(task__isnull=False).order_by()
        return events.values("task_id")

    def sql(self, column: str, of: str = "task_id") -> tuple[str, list[Any]]:
        """Return the condition that `column` names a changed task (or `of`), and its parameters."""
        if self.whole:
            return "1 = 1", []
        events = self.events().filter(**{f"{of}__isnull": False}).order_by().values(of)
        changed, parameters = events.query.sql_with_params()
        return f"{column} IN ({changed})", list(parameters)


def _last_before(moment: datetime) -> int:
    """Return an event number; all events since a time have greater numbers.

    Numbers follow times, except for late commits and slow clocks. So one old event proves nothing:
    the search goes back in growing steps until a step holds no newer event. The cost grows with
    the number of events since that time.
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


def said(rows: Any, key: str, words: str) -> Breaches:
    """Yield the key of each row with the words. The names in braces are columns of the row."""
    names = [name for _, name, _, _ in Formatter().parse(words) if name]
    for found, *values in rows.values_list(key, *names):
        yield found, words.format(**dict(zip(names, values, strict=True)))


def table(model: Any) -> str:
    """Return the quoted name of a model's table."""
    return str(connection.ops.quote_name(model._meta.db_table))


def rows_of(sql: str, parameters: Iterable[Any]) -> list[tuple[Any, ...]]:
    """Return the rows of a statement."""
    with connection.cursor() as cursor:
        cursor.execute(sql, list(parameters))
        return list(cursor.fetchall())


KEPT = 100
"""The number of results kept, besides the last one without a breach."""


def last_sound() -> datetime | None:
    """Return the start of the latest check that found no breach, or None."""
    record = CheckRecord.latest(broken=[])
    return record.began_at if record else None


def remember(
    findings: Iterable[Finding], *, began_at: datetime, seconds: float, since: datetime | None
) -> bool:
    """Store the result of a check of all invariants. Return whether the result covers all rows.

    A check whose `since` is later than the start of the last sound check covers only a part.
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
