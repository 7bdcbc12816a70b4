"""The watch: one look at the feed and one picture of the tree for all viewers of a process."""

from __future__ import annotations

import time
from collections import deque
from dataclasses import dataclass, field
from threading import Lock
from typing import TYPE_CHECKING, Any

from delegation.pages.rows import Row, rows_of
from instances.api.permissions import held_tasks, visible_instances
from instances.attention import attention_counts
from instances.history import feed
from instances.models import Event, HopperInstance
from instances.waiting import count_reasons

if TYPE_CHECKING:
    from collections.abc import Container

    from hopper.actors import Actor

LOOK_SECONDS = 1.0
"""The least time between two looks at the feed."""

REST = 4
"""The pause before the next reading of the rows, as a multiple of the length of the last one."""

EVENTS_KEPT = 5000
"""The number of newest events that the watch remembers."""


@dataclass(frozen=True)
class Change:
    """The changes after a cursor that one viewer may see.

    `rows` is None where the viewer has to read the whole page again.
    """

    after: int
    rows: list[Row] | None
    attention: int

    @property
    def is_empty(self) -> bool:
        """Whether no visible row has changed."""
        return self.rows == []


@dataclass
class Watch:
    """The rows of the tree as this process saw them last.

    `versions` holds the position in the feed at which the process saw a row change. `shape` is the
    position at which it saw an instance appear, move or end. Both are upper bounds, so a viewer
    gets a row twice rather than never.
    """

    cursor: int = -1
    shape: int = 0
    rows: dict[str, Row] = field(default_factory=dict)
    versions: dict[str, int] = field(default_factory=dict)
    touched: deque[tuple[int, str]] = field(default_factory=lambda: deque(maxlen=EVENTS_KEPT))
    counts: dict[Any, int] = field(default_factory=dict)
    _next_look: float = 0.0
    _lock: Lock = field(default_factory=Lock)

    def look(self) -> None:
        """Read the feed at most once a second, and the rows if something happened."""
        with self._lock:
            began = time.monotonic()
            if self.cursor >= 0 and began < self._next_look:
                return
            events: Any = feed(Event.objects.all())
            newer = events.filter(number__gt=self.cursor).values_list("number", "task_id")
            found = list(newer.reverse()[:EVENTS_KEPT])
            if found or self.cursor < 0:
                self._draw(found[0][0] if found else 0)
                self.touched.extend((number, task) for number, task in reversed(found) if task)
            ended = time.monotonic()
            self._next_look = ended + max(LOOK_SECONDS, REST * (ended - began))

    def _draw(self, cursor: int) -> None:
        """Read the rows and note which of them differ from those of the last time."""
        rows = {row.id: row for row in rows_of(HopperInstance.objects.all())}
        if [(one.id, one.depth) for one in rows.values()] != [
            (one.id, one.depth) for one in self.rows.values()
        ]:
            self.shape = cursor
        for pk, row in rows.items():
            if row != self.rows.get(pk):
                self.versions[pk] = cursor
        self.rows, self.cursor = rows, cursor
        self.counts = {}

    def since(self, after: int, places: Container[str], actor: Actor) -> Change:
        """Return the changes after a cursor in the visible instances `places`."""
        if self.shape > after and after >= 0:
            return Change(self.cursor, None, self.attention(actor))
        changed = [
            row for pk, row in self.rows.items() if self.versions[pk] > after and pk in places
        ]
        return Change(self.cursor, changed, self.attention(actor))

    def attention(self, actor: Actor) -> int:
        """Return how much of what the caller sees waits for a person; counted once a change."""
        key = (actor.id, *sorted(actor.grants.items()))
        if key not in self.counts:
            held, seen = held_tasks(actor), visible_instances(actor)
            self.counts[key] = attention_counts(held, seen, count_reasons(held))["total"]
        return self.counts[key]

    def touches(self, task_id: str, after: int) -> bool:
        """Return whether an event after the cursor is about the task."""
        return any(task == task_id for number, task in self.touched if number > after)


WATCH = Watch()
"""The watch of this process."""
