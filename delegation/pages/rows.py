"""The rows of the tree: each instance with its work, for itself and with everything below."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from django.db.models import Count

from hopper import database
from instances.allowances import EXECUTING, Standing
from instances.choices import ATTENTION, TaskStatus, WaitingCode
from instances.config import queue_settings
from instances.minutes import DONE_BELOW, counts_since
from instances.models import Task
from instances.models.instance import lineages
from instances.waiting import waits_by_instance

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from instances.models.instance import InstanceQuerySet

MINUTES = 60
"""The time that the sparkline of a row covers."""

_LAST = (WaitingCode.READY_FOR_WORKER, WaitingCode.WAITING_CHILDREN, WaitingCode.IN_PROGRESS)
"""The waits of work that flows. A row shows any other wait first."""

_ORDER = (*(code for code in WaitingCode if code not in _LAST), *_LAST)
_RANK = {str(code): place for place, code in enumerate(_ORDER)}

STUCK = frozenset(
    {*ATTENTION, *(code for code in WaitingCode if code.startswith(("Holder", "Ancestor")))}
    | {WaitingCode.AWAITING_TRIAGE, WaitingCode.TARGET_PAUSED, WaitingCode.UNASSIGNED}
)
"""The waits that time and workers do not end: a person has to change something."""


@dataclass
class Work:
    """The unfinished tasks of an instance: leases, pending tasks, reasons, dead letters."""

    running: int = 0
    backlog: int = 0
    oldest: datetime | None = None
    reasons: Counter[str] = field(default_factory=Counter)
    failed: int = 0

    def add(self, other: Work) -> None:
        """Add the work of an instance below."""
        self.running += other.running
        self.backlog += other.backlog
        self.failed += other.failed
        self.reasons.update(other.reasons)
        self.oldest = min(filter(None, (self.oldest, other.oldest)), default=None)

    @property
    def worst(self) -> str:
        """The code of the most pressing wait, "" for none."""
        return min(self.reasons, key=_RANK.__getitem__, default="")

    @property
    def worst_count(self) -> int:
        """The number of tasks that wait for the most pressing reason."""
        return self.reasons[self.worst] if self.reasons else 0

    @property
    def stuck(self) -> bool:
        """Whether a task waits that time and workers do not move."""
        return bool(self.failed or STUCK & self.reasons.keys())


@dataclass
class Row:
    """One instance. `limit` is the most leases, None where nothing is executed."""

    id: str
    name: str
    scope: str
    status: str
    parent_id: str | None
    effective: str
    limit: int | None
    depth: int = 0
    children: int = 0
    own: Work = field(default_factory=Work)
    all: Work = field(default_factory=Work)
    done: tuple[int, ...] = ()


def rows_of(instances: InstanceQuerySet) -> list[Row]:
    """Return the rows of the live instances of a queryset, parents first, siblings by name.

    The queryset holds whole subtrees. The number of queries does not grow with the rows.
    """
    live = instances.live().order_by("name", "pk")
    names = ("pk", "name", "scope", "status", "parent_id", "config", "load__running")
    read = {row[0]: row for row in live.values_list(*names)}
    below: dict[str | None, list[str]] = defaultdict(list)
    for pk, row in read.items():
        below[row[4] if row[4] in read else None].append(pk)
    rows = {row.id: row for row in _down(read, below)}
    _fill(rows, read)
    for row in reversed(rows.values()):
        row.all.add(row.own)
        if row.parent_id in rows:
            rows[row.parent_id].all.add(row.all)
    return list(rows.values())


def _down(
    read: Mapping[str, tuple[Any, ...]], below: Mapping[str | None, Sequence[str]]
) -> Iterator[Row]:
    """Yield the rows in the order of the page, each with its depth and effective status."""
    above: dict[str, list[Any]] = {pk: line[:-1] for pk, line in lineages(below[None]).items()}
    stack = [(pk, 0, above[pk]) for pk in reversed(below[None])]
    while stack:
        pk, depth, line = stack.pop()
        _, name, scope, status, parent_id, config, _ = read[pk]
        most = queue_settings(scope, config).max_concurrent_tasks if scope in EXECUTING else None
        children = below.get(pk, ())
        row = Row(pk, name, scope, status, parent_id, status, most, depth, len(children))
        row.effective = Standing.along([*line, row]).effective
        yield row
        stack += [(child, depth + 1, [*line, row]) for child in reversed(children)]


def _fill(rows: Mapping[str, Row], read: Mapping[str, tuple[Any, ...]]) -> None:
    """Add leases, waits, dead letters and ended tasks to the rows; few queries."""
    for pk, row in rows.items():
        row.own.running = read[pk][6] or 0
    for wait in waits_by_instance(Task.objects.all()):
        if wait.instance_id in rows:
            work = rows[wait.instance_id].own
            work.reasons[wait.code] += wait.number
            if wait.status == TaskStatus.PENDING:
                work.backlog += wait.number
                work.oldest = min(filter(None, (work.oldest, wait.oldest)))
    dead = Task.objects.dead_letters().order_by().values_list("instance_id").annotate(Count("pk"))
    for pk, number in dead:
        if pk in rows:
            rows[pk].own.failed = number
    for pk, minutes in ended_each_minute().items():
        if pk in rows:
            rows[pk].done = minutes


def ended_each_minute() -> dict[str, tuple[int, ...]]:
    """Return the tasks done in each of the last 60 minutes, at each instance and below it."""
    this_minute = database.now().replace(second=0, microsecond=0)
    since = this_minute - timedelta(minutes=MINUTES - 1)
    found: dict[str, list[int]] = defaultdict(lambda: [0] * MINUTES)
    for (minute, pk, _), number in counts_since(since, what=DONE_BELOW, by_instance=True).items():
        place = int((minute - since).total_seconds() // 60)
        if place < MINUTES:
            found[pk][place] += number
    return {pk: tuple(minutes) for pk, minutes in found.items()}
