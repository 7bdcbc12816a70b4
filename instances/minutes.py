"""Counts by the minute, for each instance, made from the feed: each event is counted once.

Throughput, sparklines and metrics are read from here, whatever the number of events.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Any

from django.db import connection, transaction
from django.db.models import F, Sum, Value
from django.db.models.functions import TruncMinute

from hopper import database
from hopper.database.writes import portions
from instances.choices import TaskStatus
from instances.history import stamp_all
from instances.models import Event, EventQuerySet, MinuteCount, SweepRecord, Task

CREATED, ACCEPTED, CLAIMED, RESCUED = "created", "accepted", "claimed", "rescued"
DONE, FAILED, CANCELLED = "done", "failed", "cancelled"
"""The ends of tasks, counted at the instance that held the task."""
DONE_BELOW = "done_below"
"""Tasks done at the instance and below it, as its feed tells (R17)."""
REFUSED, WAITED = "refused ", "waited "
"""The beginning of a name: the reason of the refusal, or the least of `WAITS` that is no shorter
than the wait, in seconds."""

WAITS = (1, 2, 5, 10, 30, 60, 120, 300, 600, 1800, 3600, 7200, 21600, 86400, 604800)
LONGER = 10 * 365 * 86400
"""Stands for a wait that is longer than all of `WAITS`."""

EVENTS_AT_ONCE = 2000
"""The most events that are counted in one transaction."""

ROUNDS = 20
"""The most transactions of one sweep."""

KEPT = timedelta(days=35)
"""The age at which the counts of a minute are removed."""

_COUNTER_KEY = 0x436E7472
"""The advisory lock of the one counter."""

_BY_KIND = {
    "task.created": CREATED,
    "delegation.accepted": ACCEPTED,
    "task.claimed": CLAIMED,
    "task.lease_lost": RESCUED,
}
_COLUMNS = (
    "task_id", "attempt", "kind", "at", "instance_id", "holder_id", "status", "ending", "data",
)  # fmt: skip

TASKS_AT_ONCE = 100
"""The most tasks whose creation one statement reads: few enough to find each by its id."""

Key = tuple["datetime", str, str]
"""A minute, the id of an instance or "", and the thing that was counted."""


def tally(events: EventQuerySet) -> Counter[Key]:
    """Return the counts of events."""
    counts: Counter[Key] = Counter()
    begun: dict[str, datetime] = {}
    places: dict[str, str] = {}
    for event in events.values_list(*_COLUMNS, named=True):
        minute, place = event.at.replace(second=0, microsecond=0), event.instance_id or ""
        for what in _counted_as(event):
            counts[minute, place, what] += 1
        if event.kind == "task.claimed" and event.attempt == 1:
            begun[event.task_id], places[event.task_id] = event.at, place
    for some in portions(begun, TASKS_AT_ONCE):
        for task_id, created_at in Task.objects.filter(pk__in=some).values_list("pk", "created_at"):
            at = begun[task_id]
            minute = at.replace(second=0, microsecond=0)
            counts[minute, places[task_id], _waited(at - created_at)] += 1
    return counts


def _waited(wait: timedelta) -> str:
    """Return the name under which the first claim of a task counts."""
    place = bisect_left(WAITS, wait.total_seconds())
    return f"{WAITED}{WAITS[place] if place < len(WAITS) else LONGER}"


def _counted_as(event: Any) -> Iterable[str]:
    """Yield the names under which a row of `_COLUMNS` counts, but for the wait of a first claim."""
    if event.kind in _BY_KIND:
        yield _BY_KIND[event.kind]
    if event.kind == "delegation.rejected":
        yield f"{REFUSED}{event.data.get('reason') or 'other'}"[:60]
    if event.ending:
        if event.status == TaskStatus.DONE and event.instance_id:
            yield DONE_BELOW
        # The end of a task stands in every feed above. It counts where the task was.
        if (event.instance_id or "") == event.holder_id:
            yield event.status


def count_events(rounds: int = ROUNDS) -> int:
    """Count the events that were not counted yet, and forget old counts; return how many events.

    Each round is a transaction: a crash counts nothing twice. Any number of processes may call
    this; one at a time counts.
    """
    stamp_all()
    counted = 0
    for _ in range(rounds):
        found = _count_some()
        counted += found
        if found < EVENTS_AT_ONCE:
            break
    MinuteCount.objects.filter(minute__lt=database.now() - KEPT).delete()
    return counted


def _count_some() -> int:
    with transaction.atomic():
        if not database.try_lock(_COUNTER_KEY):
            return 0
        events = _after(SweepRecord.counted_up_to())
        numbers = list(events.values_list("number", flat=True)[:EVENTS_AT_ONCE])
        if not numbers:
            return 0
        _add(tally(events.filter(number__lte=numbers[-1])))
        SweepRecord.note_counted(numbers[-1], database.now())
    return len(numbers)


def _after(position: int) -> Any:
    events: Any = Event.objects.in_feed()
    return events.filter(number__gt=position)


def _add(counts: Counter[Key]) -> None:
    """Add to the stored counts, in the order of their keys."""
    table = MinuteCount._meta.db_table
    adapt = connection.ops.adapt_datetimefield_value
    for some in portions(sorted(counts.items())):
        marks = ", ".join(["(%s, %s, %s, %s)"] * len(some))
        values = [part for (minute, *key), n in some for part in (adapt(minute), *key, n)]
        with connection.cursor() as cursor:
            cursor.execute(
                f"""
                INSERT INTO {table} (minute, instance_id, what, number) VALUES {marks}
                ON CONFLICT (minute, instance_id, what)
                DO UPDATE SET number = {table}.number + excluded.number
                """,  # noqa: S608 - table names only
                values,
            )


def counts_since(
    since: datetime,
    instances: Any = None,
    *,
    what: str = "",
    bar: Any = TruncMinute,
    by_instance: bool = False,
) -> Counter[Key]:
    """Return the counts since a moment, up to the present, by moment, instance and thing.

    `instances` is a queryset that limits the instances; None means all, and tasks that no instance
    held. `what` limits the things to one. `bar` is the function that rounds a moment down. Without
    `by_instance` the counts of all instances are added up, under the id "". Events that no sweep
    has counted yet are counted here, up to 40,000.
    """
    stamp_all()
    with database.snapshot():
        rows = MinuteCount.objects.filter(minute__gte=since.replace(second=0, microsecond=0))
        fresh = _after(SweepRecord.counted_up_to()).filter(at__gte=since)
        if instances is not None:
            rows = rows.filter(instance_id__in=instances.values("pk"))
            fresh = fresh.filter(instance__in=instances.values("pk"))
        if what:
            rows = rows.filter(what=what)
        place = F("instance_id") if by_instance else Value("")
        found = rows.order_by().values_list(bar("minute"), place, "what").annotate(Sum("number"))
        counts: Counter[Key] = Counter({(at, pk, name): n for at, pk, name, n in found})
        for (at, pk, name), number in tally(fresh[: ROUNDS * EVENTS_AT_ONCE]).items():
            if not what or name == what:
                counts[at, pk if by_instance else "", name] += number
    return counts
