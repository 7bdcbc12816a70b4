"""The rows of the tree: each instance with its work, for itself and with everything below."""

from __future__ import annotations

import gc
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from operator import itemgetter
from typing import Any

from django.db.models import Count, Q
from django.utils import timezone

from hopper import database
from hopper.words import CLASH
from instances.allowances import EXECUTING, Standing
from instances.attention import attention_flags, needs_person
from instances.choices import ATTENTION, STARTED, TaskStatus, WaitingCode
from instances.minutes import DONE_BELOW, counts_since
from instances.models import HopperInstance, InstanceQuerySet, Task, lineages
from instances.queue_settings import queue_settings
from instances.waiting import Alike, Places, alike, codes_of

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
    """The unfinished tasks of an instance: leases, pending tasks, reasons, dead letters.

    `attention` is the number of tasks that wait for a person, as `hopper attention` counts them.
    """

    running: int = 0
    backlog: int = 0
    oldest: datetime | None = None
    reasons: Counter[str] = field(default_factory=Counter)
    failed: int = 0
    attention: int = 0

    def add(self, other: Work) -> None:
        """Add the work of an instance below."""
        self.running += other.running
        self.backlog += other.backlog
        self.failed += other.failed
        self.attention += other.attention
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


@dataclass(frozen=True, eq=False)
class Row:
    """One live instance with its work, for itself and with everything below.

    `limit` is the most leases, None where nothing is executed. `version` is the number of the look
    that saw the row change. A changed row is a new object.
    """

    id: str
    name: str
    scope: str
    status: str
    parent_id: str | None
    config: Mapping[str, Any]
    limit: int | None
    stalled_seconds: int | None
    clash: bool
    hour: Hour
    effective: str = ""
    children: int = 0
    own: Work = field(default_factory=Work)
    all: Work = field(default_factory=Work)
    version: int = 0

    @property
    def done(self) -> tuple[int, ...]:
        """The tasks done in each of the last 60 minutes, here and below."""
        return self.hour.minutes()

    def changed(self, version: int, **values: Any) -> Row:
        """Return the row with other values; the very same one where nothing differs."""
        if all(getattr(self, name) == value for name, value in values.items()):
            return self
        return replace(self, **values, version=version)


READ = ("name", "scope", "status", "parent_id", "config", "limit", "stalled_seconds", "clash")
"""The fields of a row that `read_instances` reads."""


class Hour:
    """The tasks done in each of the last minutes."""

    def __init__(self) -> None:
        self._done: dict[int, int] = {}

    def add(self, at: datetime, number: int = 1) -> None:
        """Count tasks that were done at this time."""
        minute = int(at.timestamp()) // 60
        self._done[minute] = self._done.get(minute, 0) + number
        if len(self._done) > 2 * MINUTES:
            self._done = {one: self._done[one] for one in sorted(self._done)[-MINUTES:]}

    def minutes(self) -> tuple[int, ...]:
        """Return the numbers of the last 60 minutes, the oldest first; () for none."""
        # Drawn for people, so the clock of this process will do.
        last = int(timezone.now().timestamp()) // 60
        wanted = range(last - MINUTES + 1, last + 1)
        return tuple(self._done.get(one, 0) for one in wanted) if self._done else ()


def read_instances(ids: Collection[str] | None = None) -> dict[str, Row]:
    """Return the live instances of these ids, or all, without their work; one query."""
    live = HopperInstance.objects.live().order_by()
    wanted = live if ids is None else live.filter(pk__in=ids)
    names = ("pk", "name", "scope", "status", "parent_id", "config", "name_key")
    found = {}
    for pk, name, scope, status, parent_id, config, key in wanted.values_list(*names):
        settings = queue_settings(scope, config)
        most = settings.max_concurrent_tasks if scope in EXECUTING else None
        found[pk] = Row(
            pk, name, scope, status, parent_id, config, most, settings.stalled_seconds,
            CLASH in key, Hour(),
        )  # fmt: skip
    return found


def by_name(row: Row) -> tuple[str, str]:
    """Return the key by which siblings are ordered."""
    return row.name.casefold(), row.id


def read_upper(instances: InstanceQuerySet, most: int) -> list[tuple[Row, int]]:
    """Return the highest live ones of `instances`, at most `most`, without their work.

    Each with its depth below the highest of them, in the order of the page; four queries.
    """
    live = instances.live()
    highest = set(live.order_by("level", "name_key", "pk").values_list("pk", flat=True)[:most])
    counts = live.filter(parent__in=highest).order_by().values_list("parent").annotate(Count("pk"))
    children = dict(counts)
    rows = read_instances({one.id for line in lineages(highest).values() for one in line})
    found = []
    for pk in highest & rows.keys():
        path = [by_name(one) for one in line_of(rows[pk], rows) if one.id in highest]
        status, below = effective(rows[pk], rows), children.get(pk, 0)
        # A limit without the number of leases would look like an empty queue.
        found.append((path, replace(rows[pk], effective=status, children=below, limit=None)))
    found.sort(key=itemgetter(0))
    return [(row, len(path) - 1) for path, row in found]


_SHOWN = Q(status__in=[TaskStatus.PENDING, *STARTED, TaskStatus.BLOCKED, TaskStatus.FAILED])
_DISCARDED = Q(status=TaskStatus.FAILED, discarded_at__isnull=False)


def read_groups(
    settings: Mapping[str, int | None], now: datetime, *, everywhere: bool
) -> dict[str | None, list[Alike]]:
    """Return the unfinished tasks and dead letters at instances, in groups; one query.

    `settings` are the `stalled_seconds` of the instances; `everywhere` says that these are all.
    The key None has the tasks without an instance.
    """
    tasks = Task.objects.filter(_SHOWN).exclude(_DISCARDED)
    if not everywhere:
        tasks = tasks.filter(Q(instance__in=list(settings)) | Q(instance=None))
    flags = attention_flags(settings.items(), now) | {
        "leased": Q(status__in=STARTED, lease_seconds__isnull=False)
    }
    found: dict[str | None, list[Alike]] = {pk: [] for pk in (None, *settings)}
    for group in alike(tasks, now, flags):
        found.setdefault(group.instance_id, []).append(group)
    return found


def works_of(
    groups: Mapping[str | None, Sequence[Alike]], rows: Mapping[str, Row]
) -> dict[str | None, Work]:
    """Return the work that groups of tasks make, by instance."""
    found: dict[str | None, Work] = {pk: Work() for pk in groups}
    every = [one for some in groups.values() for one in some]
    unfinished = [one for one in every if one.status != TaskStatus.FAILED]
    for one in every:
        work = found[one.instance_id]
        work.running += one.number if "leased" in one.flags else 0
        if one.status == TaskStatus.FAILED:
            work.failed += one.number
            work.attention += one.number
    near = {*groups, *(one.offered_to_id for one in unfinished)}
    running = {pk: work.running for pk, work in found.items()}
    for group, code, number in codes_of(unfinished, _places(near, rows, running)):
        work = found[group.instance_id]
        work.reasons[code] += number
        work.attention += number if needs_person(code, group.flags) else 0
        if group.status == TaskStatus.PENDING:
            work.backlog += number
            work.oldest = min(filter(None, (work.oldest, group.oldest)))
    return found


def line_of(row: Row, rows: Mapping[str, Row]) -> list[Row]:
    """Return the instance and those above it, the root first."""
    line = [row]
    while (above := rows.get(line[-1].parent_id or "")) is not None:
        line.append(above)
    return line[::-1]


def _places(
    ids: Iterable[str | None], rows: Mapping[str, Row], running: Mapping[str | None, int]
) -> Places:
    """Return the places of instances and of all above them."""
    lines = (line_of(rows[pk], rows) for pk in ids if pk is not None and pk in rows)
    return Places(
        (one.id, one.parent_id, one.scope, one.status, one.config, running.get(one.id))
        for line in lines
        for one in line
    )


def effective(row: Row, rows: Mapping[str, Row]) -> str:
    """Return the effective status of an instance (R4)."""
    return Standing.along(line_of(row, rows)).effective


@contextmanager
def uncollected() -> Iterator[None]:
    """Make many objects that stay: the garbage collector would look at each of them many times."""
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


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
