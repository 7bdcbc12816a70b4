"""Import: lines become instances and tasks, all of them or none; a second import changes nothing.

An open task begins anew at its instance: it has no lease, no offer and no attempts, and is placed
as a new task is. A task that has ended keeps its outcome and times.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from datetime import datetime
from typing import IO, Any

from django.db import transaction

from delegation.audit import INVARIANTS, audit
from delegation.transfer.exporting import predecessors_of
from delegation.transfer.lines import (
    COMPARED_INSTANCE,
    COMPARED_TASK,
    BadLines,
    Fault,
    Reader,
    column,
)
from hopper import database
from hopper.actors import Actor
from hopper.errors import HopperError
from hopper.json_values import shown
from instances.choices import TERMINAL, InstanceStatus, TaskStatus, WaitingCode
from instances.models import ArchivedTask, HopperInstance, Task
from instances.tasks.changes import routes_on
from instances.tasks.creating import insert_imported
from instances.tasks.dependencies import add_dependencies, reevaluate_all
from instances.tree.locks import lock_edges
from instances.tree.shape import import_instance

Line = tuple[int, dict[str, Any]]

LINES_AT_ONCE = 500

_LATER = frozenset({"I21"})
"""An import may take longer than a task may be due; the sweep places the tasks afterwards."""


def import_lines(
    file: IO[bytes],
    *,
    actor: Actor,
    progress: Callable[[int], object] = lambda number: None,
    keep: bool = True,
) -> Counter[str]:
    """Import a file that can be read twice; return how many rows are new, and how many existed.

    Raises BadLines, and nothing is written then: for lines that are wrong, for a row that exists
    with other values, and where an invariant would not hold. Without `keep` nothing is written.
    """
    # Read it all before anything is locked.
    for number, _, _ in Reader().lines(file):
        progress(number)
    with transaction.atomic():
        began = database.now()
        counts = _Import(actor).run(file, progress)
        asked = [one.number for one in INVARIANTS if one.number not in _LATER]
        if findings := audit(asked, since=began):
            raise BadLines(
                Fault(0, found.object, f"{found.detail} ({found.invariant})") for found in findings
            )
        transaction.set_rollback(not keep)
    return counts


class _Import:
    """The writing of one import, inside one transaction."""

    def __init__(self, actor: Actor) -> None:
        self.actor = actor
        self.counts: Counter[str] = Counter(
            instances=0, tasks=0, instances_present=0, tasks_present=0
        )

    def run(self, file: IO[bytes], progress: Callable[[int], object]) -> Counter[str]:
        """Write the rows; then see to what may point ahead in the file."""
        edges_locked = False
        for kind, lines in _batches(file):
            if kind == "instance":
                for line in lines:
                    self._instance(*line)
            else:
                if not edges_locked:
                    lock_edges()
                    edges_locked = True
                self._tasks(lines)
            progress(lines[-1][0])
        for kind, lines in _batches(file):
            if kind == "task":
                _settle(_without_archived(lines))
            progress(lines[-1][0])
        return self.counts

    def _instance(self, number: int, values: dict[str, Any]) -> None:
        present = HopperInstance.objects.filter(pk=values["id"]).first()
        if present is not None:
            _require_same(number, values, present, COMPARED_INSTANCE)
            self.counts["instances_present"] += 1
            return
        try:
            import_instance(values, actor=self.actor)
        except HopperError as error:
            raise BadLines([Fault(number, "", str(error))]) from error
        self.counts["instances"] += 1

    def _tasks(self, all_lines: list[Line]) -> None:
        lines = _without_archived(all_lines)
        self.counts["tasks_present"] += len(all_lines) - len(lines)
        present = Task.objects.in_bulk([values["id"] for _, values in lines])
        before = predecessors_of(list(present))
        fresh = []
        for number, values in lines:
            old = present.get(values["id"])
            if old is None:
                fresh.append((number, values))
                continue
            _require_same(number, values, old, COMPARED_TASK)
            wanted, has = set(values.get("depends_on") or ()), set(before[old.pk])
            _require_equal(number, "depends_on", old.pk, sorted(wanted), sorted(has))
        self._insert(fresh)
        self.counts["tasks"] += len(fresh)
        self.counts["tasks_present"] += len(present)

    def _insert(self, lines: list[Line]) -> None:
        places = {values.get(name) for _, values in lines for name in _PLACES}
        holders = HopperInstance.objects.in_bulk([place for place in places if place])
        taken = _taken_keys({values.get("unique_key") for _, values in lines} - {None})
        now, rows = database.now(), []
        for number, values in lines:
            _require_places(number, values, holders)
            task = self._row(values, holders, now)
            key = (task.unique_among, task.unique_key)
            if task.unique_key and not task.is_terminal:
                if key in taken:
                    words = f"is {task.unique_key!r}, which another open task has"
                    raise BadLines([Fault(number, "unique_key", words)])
                taken.add(key)
            rows.append(task)
        insert_imported(rows, actor=self.actor, now=now)
        try:
            add_dependencies({values["id"]: values.get("depends_on", ()) for _, values in lines})
        except HopperError as error:
            raise BadLines([Fault(lines[0][0], "", f"here or below: {error}")]) from error

    def _row(
        self, values: dict[str, Any], holders: Mapping[str, HopperInstance], now: datetime
    ) -> Task:
        """Return the unsaved row of a new task."""
        named = {name: value for name, value in values.items() if name not in _SET_BELOW}
        task = Task(**{column(name): value for name, value in named.items()})
        task.instance = holders.get(values.get("instance_id") or "")
        task.root_id = values.get("root_id") or task.pk
        task.created_at, task.updated_at = values.get("created_at") or now, now
        task.created_by_id = self.actor.id
        task.unique_among = (task.instance_id or self.actor.id) if task.unique_key else ""
        task.queue_from(task.created_at)
        if task.is_terminal:
            task.finished_at = task.finished_at or max(now, task.created_at)
        else:
            _begin_anew(task, values, now)
        return task


def _without_archived(lines: list[Line]) -> list[Line]:
    """Leave out the tasks that the archive of this site has, also as predecessors."""
    named = {pk for _, values in lines for pk in (values["id"], *_ids(values, "depends_on"))}
    gone = set(ArchivedTask.objects.filter(pk__in=named).values_list("pk", flat=True))
    for _, values in lines if gone else ():
        values["depends_on"] = [pk for pk in _ids(values, "depends_on") if pk not in gone]
    return [line for line in lines if line[1]["id"] not in gone]


_PLACES = ("instance_id", "origin_instance_id")
_SET_BELOW = frozenset({"instance_id", "root_id", "depends_on", "waiting_on", "created_at"})


def _begin_anew(task: Task, values: Mapping[str, Any], now: datetime) -> None:
    """Give an open task the state in which it waits for a worker, for people or for children."""
    reason = values.get("waiting_on") or {}
    waits = task.decomposed and task.status == TaskStatus.IN_PROGRESS
    asked = task.status == TaskStatus.BLOCKED and reason.get("code") == WaitingCode.INPUT_REQUIRED
    if waits:
        task.wait(WaitingCode.WAITING_CHILDREN, now)
    elif asked:
        task.wait(WaitingCode.INPUT_REQUIRED, now, detail=str(reason.get("detail") or ""))
    else:
        task.status = TaskStatus.PENDING
        task.route_due = routes_on(task)
    task.ready = not values.get("depends_on")
    task.worker, task.finished_at, task.discarded_at = "", None, None


def _settle(lines: list[Line]) -> None:
    """Look at what may stand further below: parents, roots and predecessors."""
    named = {name: {pk for _, values in lines for pk in _ids(values, name)} for name in _POINTERS}
    known = set(
        Task.objects.filter(pk__in=set().union(*named.values())).values_list("pk", flat=True)
    )
    for number, values in lines:
        for name in _POINTERS:
            if unknown := sorted(set(_ids(values, name)) - known):
                raise BadLines([Fault(number, name, f"there is no task {unknown[0]}")])
    reevaluate_all(values["id"] for _, values in lines if values.get("depends_on"))


_POINTERS = ("parent_id", "root_id", "depends_on")


def _ids(values: Mapping[str, Any], name: str) -> list[str]:
    found = values.get(name) or []
    return found if isinstance(found, list) else [found]


def _require_places(
    number: int, values: Mapping[str, Any], holders: Mapping[str, HopperInstance]
) -> None:
    for name in _PLACES:
        place = values.get(name)
        if place and place not in holders:
            words = f"is {place}, which does not exist; instances stand before their tasks"
            raise BadLines([Fault(number, name, words)])
    holder = holders.get(values.get("instance_id") or "")
    is_open = values.get("status") not in TERMINAL
    if holder is not None and is_open and holder.status == InstanceStatus.TERMINATED:
        words = f"is {holder.pk}, which is terminated and holds no open task"
        raise BadLines([Fault(number, "instance_id", words)])


def _require_same(number: int, values: Mapping[str, Any], row: Any, names: Iterable[str]) -> None:
    """Raise BadLines if a line gives another value than the row of its id has."""
    for name in names:
        if name in values:
            _require_equal(number, name, row.pk, values[name], getattr(row, name))


def _require_equal(number: int, name: str, pk: str, given: Any, present: Any) -> None:
    if given != present:
        words = f"is {shown(str(given))}, but {pk} exists and has {shown(str(present))}"
        raise BadLines([Fault(number, name, words)])


def _taken_keys(keys: Collection[Any]) -> set[tuple[str, str | None]]:
    rows = Task.objects.open().filter(unique_key__in=keys)
    return set(rows.values_list("unique_among", "unique_key"))


def _batches(file: IO[bytes]) -> Iterator[tuple[str, list[Line]]]:
    """Yield the lines of a file in their order, up to 500 of one kind with different ids."""
    batch: dict[str, Line] = {}
    before = ""
    for number, kind, values in Reader().lines(file):
        if batch and (kind != before or values["id"] in batch or len(batch) == LINES_AT_ONCE):
            yield before, list(batch.values())
            batch = {}
        batch[values["id"]], before = (number, values), kind
    if batch:
        yield before, list(batch.values())
