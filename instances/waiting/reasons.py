"""The one reason why each unfinished task waits (R26): shown with it, filtered by, counted.

One table holds the conditions: Python asks it for a page, the database for all rows.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, NamedTuple

from django.db.models import Case, Count, Min, Q, TextField, Value, When
from django.db.models.fields.json import KT
from django.db.models.functions import Cast, Coalesce
from django.db.models.lookups import Exact

from hopper import database
from instances.allowances import EXECUTING
from instances.choices import ATTENTION, STARTED, HopperScope, TaskStatus, WaitingCode as W
from instances.models import Task, TaskQuerySet
from instances.waiting.line import behind, positions
from instances.waiting.places import Places
from instances.waiting.wording import Reason, Wording


@dataclass(frozen=True)
class Condition:
    """A condition: `where` for rows in the database, `holds` for a task that was read."""

    where: Q
    holds: Callable[[Task | Alike], bool]

    def __and__(self, other: Condition) -> Condition:
        return Condition(
            self.where & other.where, lambda task: self.holds(task) and other.holds(task)
        )

    def __invert__(self) -> Condition:
        return Condition(~self.where, lambda task: not self.holds(task))


ALWAYS = Condition(Q(), lambda task: True)


def equals(column: str, value: Any) -> Condition:
    """Whether a column, never null, has the value."""
    return Condition(Q((column, value)), lambda task: bool(getattr(task, column) == value))


def among(column: str, values: Container[Any]) -> Condition:
    """Whether a column has one of the values."""
    return Condition(Q((f"{column}__in", values)), lambda task: getattr(task, column) in values)


def missing(column: str) -> Condition:
    """Whether a column is null."""
    return Condition(Q((f"{column}__isnull", True)), lambda task: getattr(task, column) is None)


def later(column: str, now: datetime) -> Condition:
    """Whether the time in a column lies ahead; null does not."""

    def holds(task: Task | Alike) -> bool:
        time: datetime | None = getattr(task, column)
        return time is not None and time > now

    return Condition(Q((f"{column}__gt", now)), holds)


# With a missing key a comparison would be unknown, and its opposite too.
_STORED_CODE = Coalesce(Cast(KT("waiting__code"), TextField()), Value(""), output_field=TextField())


def says(code: str) -> Condition:
    """Whether the transition stored this code with the task."""
    return Condition(
        Q(Exact(_STORED_CODE, Value(str(code), output_field=TextField()))),
        lambda task: task.waiting_code == code,
    )


_Rows = tuple[tuple[W, Condition], ...]

_PENDING = equals("status", TaskStatus.PENDING)
_SETTLED: tuple[tuple[Condition, _Rows], ...] = (
    (
        equals("status", TaskStatus.BLOCKED),
        (
            *((code, says(code)) for code in W if code in ATTENTION - {W.INPUT_REQUIRED}),
            # A person who blocks a task by hand asks for something.
            (W.INPUT_REQUIRED, ALWAYS),
        ),
    ),
    (
        among("status", STARTED),
        ((W.WAITING_CHILDREN, equals("decomposed", True)), (W.IN_PROGRESS, ALWAYS)),
    ),
)
"""The reasons of tasks that are not pending, by status: the first row that applies."""

_AT_HOLDER = (
    W.HOLDER_NOT_STARTED,
    W.HOLDER_PAUSED,
    W.HOLDER_STOPPED,
    W.HOLDER_ERROR,
    W.ANCESTOR_PAUSED,
    W.ANCESTOR_STOPPED,
    W.ANCESTOR_ERROR,
)


def _pending(places: Places, behind_others: Condition, now: datetime) -> _Rows:
    """Return the reasons of pending tasks: the first row that applies.

    `behind_others` asks whether a task stands behind the free slots of its queue. For an offered
    task only the obstacles of the target count.
    """
    offered = ~missing("offered_to_id")
    hindered = places.hindered
    nowhere: frozenset[str] = frozenset()
    in_line = (
        among("instance_id", places.queues) & ~later("not_before", now) & ~later("retry_at", now)
    )
    return (
        *(
            (code, ~offered & among("instance_id", hindered.get(code, nowhere)))
            for code in _AT_HOLDER
        ),
        (W.TARGET_PAUSED, among("offered_to_id", nowhere.union(*hindered.values()))),
        (W.ROUTING, equals("route_due", True)),
        (W.AWAITING_ESCALATION, offered & says(W.AWAITING_ESCALATION)),
        (W.AWAITING_ACCEPTANCE, offered),
        (W.WAITING_DEPENDENCIES, equals("ready", False)),
        (W.AT_CAPACITY, among("instance_id", places.full)),
        (W.QUEUE_POSITION, in_line & behind_others),
        (W.NOT_BEFORE, later("not_before", now)),
        (W.RETRY_BACKOFF, later("retry_at", now)),
        (W.UNASSIGNED, missing("instance_id")),
        (
            W.READY_FOR_WORKER,
            among("instance_id", places.of_scopes([HopperScope.ORCHESTRATION])),
        ),
        (W.MANUAL_QUEUE, among("instance_id", places.of_scopes(EXECUTING))),
        (W.AWAITING_TRIAGE, ALWAYS),
    )


def waiting_on(tasks: Iterable[Task]) -> dict[str, Reason]:
    """Return {code, detail, object, since, until, who} for each unfinished task of a page.

    The number of queries does not grow with the page.
    """
    unfinished = [task for task in tasks if not task.is_terminal]
    pending = [task for task in unfinished if _PENDING.holds(task)]
    near = (task.offered_to_id or task.instance_id for task in pending)
    places = Places.around({pk for pk in near if pk})
    line, groups = {}, _SETTLED
    if pending:
        now = database.now()
        queues = places.queues & {task.instance_id for task in pending}
        line = positions((places[pk] for pk in sorted(queues)), now)
        front = {pk for pk, place in line.items() if place.enough}
        groups = (*_SETTLED, (_PENDING, _pending(places, ~among("pk", front), now)))
    codes = {task.pk: _code(task, groups) for task in unfinished}
    wording = Wording(unfinished, codes, places, line)
    return {task.pk: wording.reason(task) for task in unfinished}


def _code(task: Task | Alike, groups: Sequence[tuple[Condition, _Rows]]) -> W:
    rows = next(rows for group, rows in groups if group.holds(task))
    return next(code for code, condition in rows if condition.holds(task))


def waiting_condition(code: str, places: Places | None = None) -> Q:
    """Return the condition under which a task waits for `code`; few queries build it.

    `places` are all live instances, where the caller has read them.
    """
    for group, rows in _SETTLED:
        if code in dict(rows):
            return _first(group, rows, code)
    everywhere = Places.all() if places is None else places
    if code not in _SCOPES:
        return _first(_PENDING, _pending_anywhere(everywhere), code)
    # Few instances can have such tasks: the condition names them alone.
    few = everywhere.of(_SCOPES[W(code)])
    there = Q(instance__in=[one.id for one in few]) if _SCOPES[W(code)] else Q(instance=None)
    return there & _first(_PENDING, _pending_anywhere(few), code)


def claimable_anywhere() -> Q:
    """Return the condition that a worker could claim a task now: it is ready at a queue with room.

    One query builds it.
    """
    open_queues = [
        one.id for one in Places.all() if one.scope in EXECUTING and one.free and not one.hindrance
    ]
    ready = Task.objects.claimable(database.now()).filter(instance__in=open_queues)
    return Q(pk__in=ready.values("pk"))


def count_reasons(tasks: TaskQuerySet, places: Places | None = None) -> dict[str, int]:
    """Return the number of unfinished tasks among `tasks` by code, in two queries.

    `tasks` has all tasks of an instance or none, because the first ones have the free slots.
    `places` are all live instances, where the caller has read them.
    """
    everywhere = Places.all() if places is None else places
    counts: Counter[str] = Counter()
    for _, code, number in codes_of(alike(tasks.open(), database.now(), {}), everywhere):
        counts[str(code)] += number
    return dict(sorted(counts.items()))


class Alike(NamedTuple):
    """Tasks at one instance that are alike in all that R26 and a caller's `flags` ask.

    `number` counts them; `oldest` is the time when the oldest was created. `not_before` and
    `retry_at` say only whether the time lies ahead: it is then the last of all times, else None.
    `creator_id` is set for tasks without an instance, past or present.
    """

    instance_id: str | None
    creator_id: str
    status: str
    offered_to_id: str | None
    route_due: bool
    ready: bool
    decomposed: bool
    waiting_code: str
    not_before: datetime | None
    retry_at: datetime | None
    flags: frozenset[str]
    number: int
    oldest: datetime

    @property
    def asked(self) -> tuple[Any, ...]:
        """The values that R26 asks for, all but the instance."""
        return self[2:10]


def alike(tasks: TaskQuerySet, now: datetime, flags: Mapping[str, Q]) -> list[Alike]:
    """Return `tasks` in groups that wait alike, each with those of the `flags` that hold; a query.

    Unlike a count by code it depends on no instance: a reader that keeps the groups can tell the
    codes again after an instance has changed (`codes_of`).
    """
    creator = Case(When(instance=None, origin=None, then="created_by_id"), default=Value(""))
    later = {f"{name}_ahead": Q((f"{name}__gt", now)) for name in ("not_before", "retry_at")}
    marks = {f"flag_{name}": where for name, where in flags.items()}
    columns = ("status", "offered_to_id", "route_due", "ready", "decomposed")
    rows: Any = (
        tasks.order_by()
        .annotate(stored_code=_STORED_CODE, creator=creator, **later, **marks)
        .values_list("instance_id", "creator", *columns, "stored_code", *later, *marks)
        .annotate(Count("pk"), Min("created_at"))
    )
    found = []
    for (*stored, not_before, retry_at), holding, number, oldest in (
        (row[:10], row[10:-2], *row[-2:]) for row in rows
    ):
        place, creator_id, status, offered_to, route_due, ready, decomposed, code = stored
        holds = frozenset(name for name, is_so in zip(flags, holding, strict=True) if is_so)
        times = [_LAST_TIME if ahead else None for ahead in (not_before, retry_at)]
        found.append(
            Alike(
                place, creator_id, status, offered_to, route_due, ready, decomposed, code,
                times[0], times[1], holds, number, oldest,
            )
        )  # fmt: skip
    return found


_LAST_TIME = datetime.max.replace(tzinfo=UTC)


def codes_of(groups: Iterable[Alike], places: Places) -> Iterator[tuple[Alike, W, int]]:
    """Yield each group of unfinished tasks with its code and number.

    `places` has the instances of the groups. Of the tasks in line, those within the free slots are
    ready for a worker; the others wait for their turn.
    """
    now = datetime.min.replace(tzinfo=UTC)
    nobody = Condition(Q(), lambda task: False)
    table = (*_SETTLED, (_PENDING, _pending(places, nobody, now)))
    free = {pk: places[pk].free for pk in places.queues}
    kinds = {
        one.id: (one.hindrance and one.hindrance.code, one.scope, one.free > 0) for one in places
    }
    known: dict[Any, W] = {}
    for group in groups:
        # Tens of thousands of groups differ in their instance alone, and the instances are alike.
        kind = (kinds.get(str(group.instance_id)), *group.asked)
        if kind not in known:
            known[kind] = _code(group, table)
        code, number = known[kind], group.number
        if code == W.READY_FOR_WORKER:
            front = min(number, free[str(group.instance_id)])
            free[str(group.instance_id)] -= front
            if number > front:
                yield group, W.QUEUE_POSITION, number - front
            number = front
        if number:
            yield group, code, number


_SCOPES = {
    W.MANUAL_QUEUE: EXECUTING - {HopperScope.ORCHESTRATION},
    W.AWAITING_TRIAGE: frozenset(HopperScope) - EXECUTING,
    W.UNASSIGNED: frozenset[HopperScope](),
}
"""The scopes of the instances where a task without an offer may wait so; none: no instance."""


def _pending_anywhere(places: Places) -> _Rows:
    now = database.now()
    after = behind((places[pk] for pk in places.queues), now)
    # Only the database is asked.
    return _pending(places, Condition(after, lambda task: False), now)


def _first(group: Condition, rows: _Rows, code: str) -> Q:
    """Return the condition that the row of `code` is the first of its group that applies."""
    where = group.where
    for other, condition in rows:
        if other == code:
            return where & condition.where
        where &= ~condition.where
    raise KeyError(code)
