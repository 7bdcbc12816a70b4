"""Writing history: one event row for every change (I20)."""

from __future__ import annotations

from collections.abc import Sequence
from copy import copy
from datetime import datetime
from typing import Any

from django.db import connection, transaction
from django.db.models import F, Max

from hopper.actors import Actor
from hopper.database import engine, try_lock, write_together
from hopper.database.writes import Writes
from instances.models import ArchiveFile, Event, EventQuerySet, HopperInstance, Task, lineages

STAMPED_AT_ONCE = 1000
"""The number of events that get their position in one transaction."""

_FEED_KEY = 0x46656564
"""The advisory lock of the one stamper."""


def task_event(
    task: Task,
    kind: str,
    *,
    actor: Actor,
    now: datetime,
    before: str = "",
    instance_id: str | None = None,
    delegation_id: str = "",
    ending: bool = False,
    **data: Any,
) -> Event:
    """Return an unsaved event for a change of a task, by default in the feed of its holder."""
    return Event(
        kind=kind,
        at=now,
        actor=actor.name,
        actor_id=actor.id,
        task=task,
        instance_id=instance_id or task.instance_id,
        delegation_id=delegation_id,
        epoch=task.epoch,
        attempt=task.attempt,
        before=before,
        status=task.status,
        holder_id=task.instance_id or "",
        ending=ending,
        data={key: value for key, value in data.items() if value not in (None, "")},
    )


def instance_event(
    instance: HopperInstance,
    kind: str,
    *,
    actor: Actor,
    now: datetime,
    before: str = "",
    **data: Any,
) -> Event:
    """Return an unsaved event for a change of an instance."""
    return Event(
        kind=kind,
        at=now,
        actor=actor.name,
        actor_id=actor.id,
        instance=instance,
        before=before,
        status=instance.status,
        data=data,
    )


def record(*events: Event) -> None:
    """Write events in their order, hundreds in one statement."""
    writes = Writes()
    for event in events:
        writes.insert(event)
    for some in writes.in_portions():
        write_together(*some)


def copies_above(events: Sequence[tuple[Event, set[str]]]) -> list[Event]:
    """Return copies of each event for its places and all instances above, except its own feed.

    They are not saved. One query for all.
    """
    lines = lineages(place for _, places in events for place in places)
    copies = []
    for event, places in events:
        above = {one.id for place in places for one in lines[place]} - {event.instance_id}
        copies += [_copied(event, instance_id) for instance_id in sorted(above)]
    return copies


def _copied(event: Event, instance_id: str) -> Event:
    copied = copy(event)
    copied.instance_id = instance_id
    return copied


def feed(events: EventQuerySet) -> EventQuerySet:
    """Return those of `events` that stand in the feed, in its order, up to the present."""
    stamp()
    return events.in_feed()


def read_feed(after: int, *columns: str, limit: int) -> list[tuple[Any, ...]]:
    """Return the position and these columns of the next events in the feed, at most `limit`.

    One query where every committed event has its position. Events without one get it first.
    """
    newer: Any = Event.objects.in_feed()
    newer = newer.filter(number__gt=after).values_list("number", *columns)[:limit]
    if engine().ids_follow_commits:
        return list(newer)
    without: Any = Event.objects.filter(position__isnull=True).annotate(number=F("position"))
    found = list(newer.union(without.values_list("number", *columns)[:1], all=True))
    if all(position is not None for position, *_ in found):
        return found
    stamp()
    return list(newer)


def newest_position() -> int:
    """Return the position of the newest event in the feed, 0 for none; one or two queries."""
    newest: Any = feed(Event.objects.all()).reverse().first()
    return newest.number if newest else 0


def history_state() -> tuple[int, ...]:
    """Return numbers of which one changes with every event; two or three queries.

    Each change of an instance or a task writes an event (I20). So what is made of their rows stays
    right as long as the numbers stay.
    """
    newest = Event.objects.in_feed().aggregate(newest=Max("number"))["newest"] or 0
    if engine().ids_follow_commits:
        return newest, ArchiveFile.last_position()
    waiting = Event.objects.filter(position__isnull=True).count()
    return newest, waiting, ArchiveFile.last_position()


def stamp_all() -> None:
    """Give all committed events their positions, or leave the rest to another who stamps."""
    while stamp() == STAMPED_AT_ONCE:
        pass


def stamp() -> int:
    """Give committed events their positions in the feed, in id order; return how many.

    Ids are given before the commit, so an event with a lower id may become visible later than one
    with a higher id. Positions are given only to events that are committed, by one stamper at a
    time: an event never appears before a position that a reader has passed. Returns 0 at once where
    another stamper is at work. At most `STAMPED_AT_ONCE` are stamped.
    """
    if engine().ids_follow_commits or not Event.objects.filter(position__isnull=True).exists():
        return 0
    table, archive = Event._meta.db_table, ArchiveFile._meta.db_table
    with transaction.atomic(), connection.cursor() as cursor:
        if not try_lock(_FEED_KEY):
            return 0
        # A statement of its own: it sees all that the last stamper has committed.
        cursor.execute(
            f"""
            UPDATE {table} SET position = given.position
            FROM (
                SELECT id, row_number() OVER (ORDER BY id)
                    + GREATEST(
                        (SELECT max(position) FROM {table}), (SELECT max(through) FROM {archive}), 0
                    ) AS position
                FROM (SELECT id FROM {table} WHERE position IS NULL ORDER BY id LIMIT %s) committed
            ) given
            WHERE {table}.id = given.id
            """,  # noqa: S608 - table names only
            [STAMPED_AT_ONCE],
        )
        return int(cursor.rowcount)
