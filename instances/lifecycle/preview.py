"""Previews of a stop, a termination, a close-out or a cancellation (R5, R16).

A preview carries out the action in a transaction, compares the rows before and after, and rolls
the transaction back. So a preview shows exactly the effects of the action, and no rule is written
twice. A preview takes the locks of the action, and gives up (503) after a short wait for them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from django.db import transaction
from django.db.models import Q

from hopper.actors import Actor
from hopper.database import limit_waiting, lock_rows
from hopper.errors import Conflict
from instances.choices import STARTED, TERMINAL, TaskStatus as T
from instances.lifecycle.actions import stop_instance, terminate_instance
from instances.lifecycle.closing import close_instance
from instances.models import Attempt, HopperInstance, Task
from instances.signals import rows_compared
from instances.tasks.changes import lock_ending_task, lock_tasks
from instances.tasks.ending import cancel_task
from instances.tree.locks import lock_trees
from instances.tree.reads import closing_preview, effective_statuses
from instances.tree.status import present_instance
from instances.waiting import waiting_on

Rows = dict[str, dict[str, Any]]
Picture = dict[str, Rows]

LONGEST_WAIT_SECONDS = 5
"""The longest wait of a preview for a lock of another transaction."""

KINDS = ("instances", "tasks", "delegations", "attempts")


@dataclass(frozen=True)
class Change:
    """One row that would change. `about` names the row; `before` and `after` hold its fields.

    `what` is the outcome in words.
    """

    about: Mapping[str, Any]
    before: Mapping[str, Any]
    after: Mapping[str, Any]
    what: tuple[str, ...]


@dataclass(frozen=True)
class Preview:
    """All changes of an action, by kind of row, in the order of the ids.

    `figures` counts the live instances, tasks and leases below an instance now. `refused` is the
    error that the action would raise, None if there is none. `summary` is the summary of a run.
    """

    changes: Mapping[str, list[Change]] = field(default_factory=lambda: {k: [] for k in KINDS})
    figures: Mapping[str, Any] = field(default_factory=dict)
    refused: Conflict | None = None
    summary: Mapping[str, Any] | None = None


def preview_stop(
    instance_id: str, *, force: bool = False, evacuate: bool = False, actor: Actor
) -> Preview:
    """Return the changes of stopping an instance. Raises the errors of `stop_instance`."""
    act = partial(stop_instance, instance_id, force=force, evacuate=evacuate, actor=actor)
    return _tried_below(instance_id, act)


def preview_terminate(instance_id: str, *, cascade: bool = False, actor: Actor) -> Preview:
    """Return the changes of terminating an instance.

    Without `cascade` an instance that is not empty is not terminated. Then the preview holds the
    figures and the refusal.
    """
    act = partial(terminate_instance, instance_id, cascade=cascade, actor=actor)
    try:
        return _tried_below(instance_id, act)
    except Conflict as refusal:
        if refusal.code != "not_empty":
            raise
        return Preview(figures=closing_preview(instance_id), refused=refusal)


def preview_close(instance_id: str, *, force: bool = False, actor: Actor) -> Preview:
    """Return the changes of closing a run, and its summary. Raises the errors of the close-out."""
    return _tried_below(instance_id, partial(close_instance, instance_id, force=force, actor=actor))


def preview_cancel(task_id: str, *, reason: str = "", actor: Actor) -> Preview:
    """Return the changes of cancelling a task. Raises the errors of the cancellation."""

    def hold() -> _Reach:
        return _Reach([], _tree_mates([lock_ending_task(task_id)]))

    return _tried(hold, partial(cancel_task, task_id, reason=reason, actor=actor))


def _tried_below(instance_id: str, act: Callable[[], Any]) -> Preview:
    return _tried(lambda: _hold_below(instance_id), act, lambda: closing_preview(instance_id))


def _tried(
    hold: Callable[[], _Reach],
    act: Callable[[], Any],
    count: Callable[[], Mapping[str, Any]] = dict,
) -> Preview:
    """Take the locks of `hold`, carry out `act`, note the changed rows, and roll back.

    The calls after the commit (placing, looking at dependants) are dropped as well.
    """
    with transaction.atomic():
        limit_waiting(LONGEST_WAIT_SECONDS)
        reach = hold()
        figures, before = count(), reach.picture()
        summary = act()
        after = reach.picture()
        transaction.set_rollback(True)
    changes = {kind: _changes(kind, before[kind], after[kind]) for kind in KINDS}
    return Preview(changes, figures, summary=summary if isinstance(summary, dict) else None)


def _hold_below(instance_id: str) -> _Reach:
    """Lock an instance, all instances below, and every task that its end could reach (R6)."""
    lock_trees(instance_id)
    parent_id = present_instance(instance_id).parent_id
    ids = list(HopperInstance.objects.under(instance_id).live().values_list("pk", flat=True))
    # The parent's record keeps the summary of a run.
    lock_rows(HopperInstance, [*ids, *([parent_id] if parent_id else [])])
    touched = Task.objects.open().filter(Q(instance__in=ids) | Q(offered_to__in=ids))
    return _Reach(ids, _tree_mates(lock_tasks(touched.values_list("pk", flat=True))))


def _tree_mates(tasks: Iterable[Task]) -> list[str]:
    """Return every task of these tasks' trees: an end may reach any of them."""
    roots = {task.root_id for task in tasks}
    return list(Task.objects.filter(root__in=roots).values_list("pk", flat=True))


@dataclass(frozen=True)
class _Reach:
    """The rows that an action could change. Locks keep other transactions out."""

    instance_ids: list[str]
    task_ids: list[str]

    def picture(self) -> Picture:
        """Return the present values of these rows."""
        picture: Picture = {
            "instances": _instances(self.instance_ids),
            "tasks": _tasks(self.task_ids),
            "delegations": {},
            "attempts": _attempts(self.task_ids),
        }
        answers: list[Any] = rows_compared.send(Task, task_ids=self.task_ids)
        for _, rows in answers:
            picture.update(rows)
        return picture


_NAMES = {
    "instances": ("id", "name"),
    "tasks": ("id", "title"),
    "delegations": ("id", "task_id", "source_instance_id", "target_instance_id", "delegation_type"),
    "attempts": ("task_id", "number", "worker"),
}
"""The fields that identify a row. They never change."""


def _instances(ids: list[str]) -> Rows:
    effective = effective_statuses(ids)
    rows = HopperInstance.objects.filter(pk__in=ids).order_by("pk").values("id", "name", "status")
    return {row["id"]: {**row, "effective_status": effective[row["id"]]} for row in rows}


def _tasks(ids: list[str]) -> Rows:
    tasks = list(
        Task.objects.filter(pk__in=ids)
        .defer("description", "context", "result", "tags", "required_capabilities")
        .order_by("pk")
    )
    reasons = waiting_on(tasks)
    return {
        task.pk: {
            "id": task.pk,
            "title": task.title,
            "status": task.status,
            "instance_id": task.instance_id,
            "offered_to": task.offered_to_id,
            "parent_id": task.parent_id,
            "root_id": task.root_id,
            "route_due": task.route_due,
            "decomposed": task.decomposed,
            "worker": task.worker,
            "leased": task.has_live_lease,
            "waiting_on": reasons[task.pk]["code"] if task.pk in reasons else None,
            "error": task.error,
        }
        for task in tasks
    }


def _attempts(task_ids: list[str]) -> Rows:
    rows = Attempt.objects.filter(task__in=task_ids).order_by("task_id", "number")
    names = ("task_id", "number", "worker", "outcome")
    return {
        f"{row[0]} {row[1]}": dict(zip(names, row, strict=True)) for row in rows.values_list(*names)
    }


def _changes(kind: str, before: Rows, after: Rows) -> list[Change]:
    names = _NAMES[kind]
    found = []
    for key, was in before.items():
        will = after[key]
        differing = [name for name in was if was[name] != will[name]]
        if differing:
            change = Change(
                {name: was[name] for name in names},
                {name: was[name] for name in differing},
                {name: will[name] for name in differing},
                _WORDS[kind](was, will),
            )
            found.append(change)
    return found


def _of_instance(was: dict[str, Any], will: dict[str, Any]) -> tuple[str, ...]:
    if was["status"] != will["status"]:
        return (str(will["status"]),)
    return (f"effectively_{will['effective_status']}",)


def _of_task(was: dict[str, Any], will: dict[str, Any]) -> tuple[str, ...]:
    """Return the outcome of a task in words, its end or move first."""
    moved = was["instance_id"] != will["instance_id"]
    words = {
        _outcome(was, will): was["status"] != will["status"],
        "lease_revoked": was["leased"] and not will["leased"],
        "offer_cancelled": was["offered_to"] is not None and will["offered_to"] is None,
        "moved": moved and will["instance_id"] is not None,
        "unassigned": moved and will["instance_id"] is None,
        "cut_loose": was["root_id"] != will["root_id"] or was["parent_id"] != will["parent_id"],
        "due": will["route_due"] and (moved or not was["route_due"]),
        "waits": will["waiting_on"] is not None and was["waiting_on"] != will["waiting_on"],
    }
    return tuple(word for word, holds in words.items() if holds)


def _outcome(was: dict[str, Any], will: dict[str, Any]) -> str:
    if will["status"] in TERMINAL:
        return str(will["status"])
    if was["decomposed"] and not will["decomposed"]:
        return "returned"
    if was["status"] in STARTED:
        return "put_back"
    return "unblocked" if was["status"] == T.BLOCKED else str(will["status"])


def _of_delegation(was: dict[str, Any], will: dict[str, Any]) -> tuple[str, ...]:
    return (str(will["status"]), str(will["reason"]))


def _of_attempt(was: dict[str, Any], will: dict[str, Any]) -> tuple[str, ...]:
    return (str(will["outcome"]),)


_WORDS: dict[str, Callable[[dict[str, Any], dict[str, Any]], tuple[str, ...]]] = {
    "instances": _of_instance,
    "tasks": _of_task,
    "delegations": _of_delegation,
    "attempts": _of_attempt,
}


def counted(changes: Iterable[Change]) -> dict[str, int]:
    """Return the number of changes with each outcome."""
    return dict(sorted(Counter(word for change in changes for word in change.what).items()))
