"""The watch: one look at the feed and one picture of the tree for all viewers of a process."""

from __future__ import annotations

import logging
import time
from bisect import bisect_right
from collections import defaultdict, deque
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import cached_property
from threading import Lock, RLock, Thread
from typing import Any, TypeVar

from django.db import connections
from django.db.models import Count
from django.utils import timezone

from delegation.pages.rows import (
    READ,
    Row,
    Work,
    by_name,
    effective,
    ended_each_minute,
    line_of,
    read_groups,
    read_instances,
    uncollected,
    works_of,
)
from hopper import database
from hopper.actors import EVERYWHERE, Actor
from hopper.config.files import CONFIGURATION
from instances.choices import TaskStatus
from instances.history import newest_position, read_feed
from instances.models import HopperInstance, Webhook, lineages
from instances.waiting import Alike

logger = logging.getLogger(__name__)

T = TypeVar("T")

LOOK_SECONDS = 1.0
"""The least time between two looks at the feed."""

PATIENCE = 0.3
"""The longest wait, in seconds, of a fresh page for a look that is under way."""

IDLE = 600.0
"""After so many seconds without a look, the next one reads the tree anew."""

REST = 4
"""The pause before the next look, as a multiple of the length of the last one."""

EVENTS_AT_ONCE = 5000
"""The most events that one look reads, and the number of newest events that the watch remembers."""

TASKS_AT_ONCE = 20_000
"""The tasks that one look reads, as far as their number is known; at least one instance's."""

TURN, TURN_SECONDS = 500, 5.0
"""The most instances whose tasks one look reads although no event named them, and the pause between
two such looks without an event.

Some waits end with time, without an event, and some with a change elsewhere.
"""

WEBHOOK_SECONDS = 60.0
"""The pause between two looks at the webhooks. Such a look reads no tasks: the next one does."""

LOOKS_KEPT = 10_000
"""The number of looks whose cursors the watch remembers, for viewers that come back."""

LARGE, UNFOLDED, CALM = 400, 2, 60
"""Above `LARGE` rows a page has no folded rows. Rows down to the depth `UNFOLDED` are shown at
first; one level less where they are more than `CALM`."""


@dataclass(frozen=True)
class Change:
    """The changes after a look that one viewer may see.

    `rows` is None where the viewer has to read the whole page again; `gone` are ids of rows that
    ended or moved away.
    """

    rows: list[Row] | None
    gone: list[str]
    attention: int


class Sight:
    """The part of the tree that callers with the same grants see."""

    def __init__(self, watch: Watch, places: Collection[str]) -> None:
        self._watch, self._places = watch, places
        if EVERYWHERE in places:
            self.ids: Collection[str] = watch.rows.keys()
        else:
            self.ids = {row.id for place in places for row, _ in watch.branch(place)}

    @cached_property
    def tops(self) -> list[str]:
        """The ids of the highest visible rows, by name."""
        rows = self._watch.rows
        tops = [rows[pk] for pk in self.ids if rows[pk].parent_id not in self.ids]
        return [row.id for row in sorted(tops, key=by_name)]

    def listed(self) -> list[tuple[Row, int]]:
        """Return all visible rows, each with its depth, in the order of the page."""
        with self._watch.state:
            return [one for top in self.tops for one in self._watch.branch(top)]

    def depth(self, row: Row) -> int:
        """Return the number of visible rows above a row."""
        return sum(one.id in self.ids for one in line_of(row, self._watch.rows)) - 1

    @cached_property
    def unfolded(self) -> int:
        """The depth down to which rows are shown at first."""
        return unfolded_depth(depth for _, depth in self.listed())

    @property
    def is_large(self) -> bool:
        """Whether a page leaves folded rows out."""
        return len(self.ids) > LARGE

    @property
    def attention(self) -> int:
        """The number of tasks and instances in sight that wait for a person."""
        rows = (self._watch.rows[pk] for pk in self.ids)
        everything = EVERYWHERE in self._places
        buried = (
            number
            for line, number in self._watch.buried()
            if everything or any(pk in self.ids or pk in self._places for pk in line)
        )
        off = sum(number for pk, number in self._watch.webhooks_off.items() if pk in self.ids)
        return sum(row.own.attention + row.clash for row in rows) + sum(buried) + off


class Watch:
    """The tree as this process saw it last.

    One look reads the feed, the instances that changed, and the tasks at instances where something
    changed. The version of a row is the number of the look that saw the row change. A position in
    the feed stands for the last look that had read no further, so a viewer that comes back gets a
    row twice rather than never.
    """

    def __init__(self) -> None:
        self._looking, self._reading, self.state = Lock(), Lock(), RLock()
        self.forget()

    def forget(self) -> None:
        """Begin anew with the next look."""
        self.cursor, self.number = -1, 0
        self._cursors: list[int] = []
        self._read: dict[Any, Any] = {}
        self.rows: dict[str, Row] = {}
        self.below: dict[str | None, list[str]] = {}
        self.touched: deque[tuple[int, str]] = deque(maxlen=EVENTS_AT_ONCE)
        self._gone: deque[tuple[int, str, str | None]] = deque(maxlen=EVENTS_AT_ONCE)
        self._ended: dict[str, str | None] = {}
        self._latest: dict[str, int] = {}
        self._groups: dict[str | None, list[Alike]] = {}
        self._to_read: dict[str, None] = {}
        self._turn: deque[str] = deque()
        self._sights: dict[Any, Sight] = {}
        self._attention: dict[Any, int] = {}
        self._loose: dict[str, int] = {}
        self.webhooks_off: dict[str, int] = {}
        self._next_look, self._next_turn, self._ahead = 0.0, 0.0, timedelta()
        self._next_webhooks = 0.0

    @property
    def is_ready(self) -> bool:
        """Whether this process has read the tree."""
        return self.cursor >= 0

    @property
    def _is_idle(self) -> bool:
        return self.is_ready and time.monotonic() - self._next_look > IDLE

    def look_for_page(self) -> None:
        """Read what changed for a fresh page, which does not wait for a large tree to be read.

        Where the tree is not read yet, the page asks `is_ready` and shows what it can without it.
        """
        if self._is_idle and self._looking.acquire(blocking=False):
            with self.state:
                if self._is_idle:
                    self.forget()  # To read all events since then would take longer.
            self._looking.release()
        if self.is_ready or HopperInstance.objects.count() <= LARGE:
            self.look(at_once=True)
        elif not self._looking.locked():
            Thread(target=self._look_beside, name="watch", daemon=True).start()

    def _look_beside(self) -> None:
        try:
            self.look()
        except Exception as error:
            told = {"event": "tree_not_read"}
            logger.warning("the tree was not read: %s", error, extra=told, exc_info=True)
        finally:
            connections.close_all()

    def look(self, *, at_once: bool = False) -> None:
        """Read what changed, at most once a second for all streams; `at_once` for a fresh page.

        A stream does not wait for the look of another, a page not for long.
        """
        if not self._looking.acquire(timeout=PATIENCE if at_once else 0):
            return
        try:
            began = time.monotonic()
            if self.cursor >= 0 and not at_once and began < self._next_look:
                return
            with CONFIGURATION.held():
                if self.cursor < 0:
                    with uncollected():
                        self._begin()
                else:
                    self._hear()
            ended = time.monotonic()
            self._next_look = ended + max(LOOK_SECONDS, REST * (ended - began))
        finally:
            self._looking.release()

    def _begin(self) -> None:
        """Read the whole tree, after the position of the newest event."""
        cursor, now = newest_position(), database.now()
        self._ahead = now - timezone.now()
        rows = read_instances()
        for pk, minutes in ended_each_minute().items():
            for ago, number in enumerate(reversed(minutes)):
                if number and pk in rows:
                    rows[pk].hour.add(now - timedelta(minutes=ago), number)
        settings = {pk: row.stalled_seconds for pk, row in rows.items()}
        groups = read_groups(settings, now, everywhere=True)
        self._read_webhooks()
        ended = lineages(str(pk) for pk in groups if pk is not None and pk not in rows)
        with self.state:
            self._ended = {one.id: one.parent_id for line in ended.values() for one in line}
            self._began_at = now
            self.rows = rows
            self._arrange()
            self._work_out(groups, rows, ())
            self._saw(cursor)

    def _saw(self, cursor: int) -> None:
        """Number this look, and keep the position up to which the watch has read the feed."""
        self.cursor, self.number = cursor, self.number + 1
        self._cursors.append(cursor)
        del self._cursors[:-LOOKS_KEPT]
        self._read = {}

    def once(self, key: Any, read: Callable[[], T]) -> T:
        """Return what `read` returns; after each look one reader calls it for all with that key."""
        with self._reading:
            if key not in self._read:
                self._read[key] = read()
            found: T = self._read[key]
            return found

    def number_at(self, position: int) -> int:
        """Return the last look that had read the feed no further, -1 for none that is known."""
        with self.state:
            known = bisect_right(self._cursors, position)
            return self.number - len(self._cursors) + known if known else -1

    def _hear(self) -> None:
        """Read new events, the instances that they name, and tasks; at most three queries."""
        names = ("task_id", "instance_id", "holder_id", "ending", "status", "at")
        events = read_feed(self.cursor, *names, limit=EVENTS_AT_ONCE)
        changed = {place for _, task, place, *_ in events if task is None and place}
        fresh = read_instances(changed) if changed else {}
        for _, task, place, holder, ending, *_ in events:
            if task is not None:
                # The end of a task stands in every feed above, but changes its holder alone.
                self._to_read.update(dict.fromkeys({holder} if ending else {holder, place}))
        self._to_read.update(dict.fromkeys(fresh))
        batch: dict[str, int | None] = {}
        if time.monotonic() >= self._next_webhooks:
            self._read_webhooks()
        else:
            batch = self._next_batch({**self.rows, **fresh}, turn=bool(events))
        now = timezone.now() + self._ahead
        groups = read_groups(batch, now, everywhere=False) if batch else {}
        with self.state:
            self._saw(events[-1][0] if events else self.cursor)
            self.touched.extend((number, task) for number, task, *_ in events if task)
            for _, _, place, _, ending, status, at in events:
                if ending and status == TaskStatus.DONE and place in self.rows:
                    self._count_done(place, at)
            left, moved = self._change(changed, fresh)
            self._work_out(groups, moved, left)

    def _read_webhooks(self) -> None:
        """Count the webhooks that Hopper has switched off, of which no event tells."""
        self._next_webhooks = time.monotonic() + WEBHOOK_SECONDS
        off: Any = Webhook.objects.switched_off().order_by().values_list("instance_id")
        found = dict(off.annotate(Count("pk")))
        with self.state:
            self.webhooks_off = found
            self._attention.clear()

    def _count_done(self, pk: str, at: datetime) -> None:
        if at > self._began_at:
            self.rows[pk].hour.add(at)
            self._put(replace(self.rows[pk], version=self.number))

    def _next_batch(self, known: dict[str, Row], *, turn: bool) -> dict[str, int | None]:
        """Return the next instances whose tasks are read, with their `stalled_seconds`.

        First those that events named, then others in turn.
        """
        batch: dict[str, int | None] = {}
        size = 0
        while self._to_read and size <= TASKS_AT_ONCE:
            pk = next(iter(self._to_read))
            del self._to_read[pk]
            if pk in known or pk in self._ended:
                batch[pk] = known[pk].stalled_seconds if pk in known else None
                size += self._size(pk)
        now = time.monotonic()
        if turn or now >= self._next_turn:
            self._next_turn = now + TURN_SECONDS
            for pk in list(self._turn)[:TURN]:
                size += self._size(pk)
                if batch and size > TASKS_AT_ONCE:
                    break
                batch[pk] = known[pk].stalled_seconds
                self._turn.rotate(-1)
        return batch

    def _size(self, pk: str) -> int:
        return 1 + sum(one.number for one in self._groups.get(pk, ()))

    def _change(self, ids: Collection[str], fresh: dict[str, Row]) -> tuple[set[str], set[str]]:
        """Put instances in that were read again.

        Returns the ids of instances that lost a child, and of those whose line changed.
        """
        left: set[str | None] = set()
        for pk in ids:
            old, new = self.rows.get(pk), fresh.get(pk)
            if old is not None and (new is None or old.parent_id != new.parent_id):
                self._gone.append((self.number, pk, old.parent_id))
                left.add(old.parent_id)
            if new is None:
                self._end(pk)
            elif old is None:
                self._put(replace(new, version=self.number))
            else:
                values = {name: getattr(new, name) for name in READ}
                self._put(old.changed(self.number, **values))
        if ids:
            self._arrange()
        moved = {row.id for pk in fresh for row, _ in self.branch(pk)}
        return {pk for pk in left if pk is not None and pk in self.rows}, moved

    def _end(self, pk: str) -> None:
        """Forget an ended instance, all but its parent: its dead letters stay (R15)."""
        if (row := self.rows.pop(pk, None)) is not None:
            self._ended[pk] = row.parent_id
        self._latest.pop(pk, None)

    def buried(self) -> Iterator[tuple[list[str], int]]:
        """Yield the number of dead letters of ended instances, each with the ids of its line."""
        for pk in self._ended:
            number = sum(one.number for one in self._groups.get(pk, ()))
            if number:
                line = [pk]
                while (above := self._ended.get(line[-1])) is not None:
                    line.append(above)
                yield line, number

    def _arrange(self) -> None:
        """Order the rows: the children of each instance by name."""
        below: dict[str | None, list[Row]] = defaultdict(list)
        for row in self.rows.values():
            below[row.parent_id if row.parent_id in self.rows else None].append(row)
        self.below = {
            pk: [row.id for row in sorted(rows, key=by_name)] for pk, rows in below.items()
        }
        self._turn = deque(self.rows)
        self._sights.clear()

    def _work_out(
        self,
        groups: dict[str | None, list[Alike]],
        moved: Collection[str],
        left: Collection[str],
    ) -> None:
        """Tell the work of instances whose tasks or whose lines are new, and the sums above."""
        self._groups |= groups
        wanted = (pk for pk in (*groups, *moved) if pk in self.rows)
        again: dict[str | None, list[Alike]] = {pk: self._groups.get(pk, []) for pk in wanted}
        above: dict[str, int] = {}
        for pk, work in works_of(again, self.rows).items():
            row = self.rows[str(pk)]
            status = effective(row, self.rows)
            new = row.changed(self.number, own=work, effective=status)
            if new is not row or pk in moved:
                self._put(new)
                above |= {one.id: at for at, one in enumerate(line_of(row, self.rows))}
        for pk in left:
            above |= {one.id: at for at, one in enumerate(line_of(self.rows[pk], self.rows))}
        for pk in sorted(above, key=above.__getitem__, reverse=True):
            children, total = self.below.get(pk, ()), Work()
            for work in (self.rows[pk].own, *(self.rows[one].all for one in children)):
                total.add(work)
            self._put(self.rows[pk].changed(self.number, all=total, children=len(children)))
        loose = self._groups.get(None, [])
        for creator in {*self._loose, *(one.creator_id for one in loose)}:
            mine = [one for one in loose if one.creator_id == creator]
            self._loose[creator] = works_of({None: mine}, self.rows)[None].attention
        self._attention.clear()

    def _put(self, row: Row) -> None:
        if self.rows.get(row.id) is not row:
            self.rows[row.id] = row
            self._latest.pop(row.id, None)
            self._latest[row.id] = row.version

    def branch(self, top: str) -> Iterator[tuple[Row, int]]:
        """Yield an instance and all below it with their depths below it, parents first."""
        stack = [(top, 0)] if top in self.rows else []
        while stack:
            pk, depth = stack.pop()
            yield self.rows[pk], depth
            stack += [(child, depth + 1) for child in reversed(self.below.get(pk, ()))]

    def children(self, pk: str) -> list[Row]:
        """Return the instances right below one, by name."""
        with self.state:
            return [self.rows[child] for child in self.below.get(pk, ())]

    def sight(self, actor: Actor) -> Sight:
        """Return the part of the tree that the caller sees, as `visible_instances` has it."""
        with self.state:
            key = EVERYWHERE if EVERYWHERE in actor.grants else tuple(sorted(actor.grants))
            if key not in self._sights:
                self._sights[key] = Sight(self, actor.grants)
            return self._sights[key]

    def since(self, number: int, actor: Actor) -> Change:
        """Return the changes after a look that the caller may see."""
        sight = self.sight(actor)
        with self.state:
            attention = self.attention(actor)
            if number < 0:
                return Change(None, [], attention)
            changed = []
            for pk, version in reversed(self._latest.items()):
                if version <= number:
                    break
                if pk in sight.ids:
                    changed.append(self.rows[pk])
            gone = [
                pk
                for version, pk, above in self._gone
                if version > number and (above in sight.ids or EVERYWHERE in actor.grants)
            ]
            return Change(changed[::-1], gone, attention)

    def attention(self, actor: Actor) -> int:
        """Return how much of what the caller sees waits for a person; no query."""
        sight, everything = self.sight(actor), EVERYWHERE in actor.grants
        with self.state:
            key = EVERYWHERE if everything else (actor.id, *sorted(actor.grants))
            if key not in self._attention:
                mine = self._loose.get(actor.id, 0)
                loose = sum(self._loose.values()) if everything else mine
                self._attention[key] = sight.attention + loose
            return self._attention[key]

    def touches(self, task_id: str, after: int) -> bool:
        """Return whether an event after the cursor is about the task."""
        with self.state:
            return any(task == task_id for number, task in self.touched if number > after)


def unfolded_depth(depths: Iterable[int]) -> int:
    """Return the depth down to which rows of these depths are shown at first."""
    near = sum(depth <= UNFOLDED for depth in depths)
    return UNFOLDED if near <= CALM else UNFOLDED - 1


WATCH = Watch()
"""The watch of this process."""
