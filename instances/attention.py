"""Attention: all that waits for a person, one set for list, counts and dashboard (R26)."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Container, Iterable
from datetime import datetime, timedelta
from functools import cached_property
from typing import Any

from django.db.models import Q

from hopper import database
from instances.choices import ATTENTION, UNFINISHED, TaskStatus, WaitingCode as W
from instances.models import (
    Attempt,
    HopperInstance,
    InstanceQuerySet,
    Question,
    Task,
    TaskQuerySet,
    Webhook,
    WebhookQuerySet,
)
from instances.waiting import Places, count_reasons, next_step, waiting_condition, waiting_on
from instances.waiting.wording import operator_of

STALE = timedelta(hours=24)
"""After so long without a change, work by hand needs a look (R21)."""

DEAD_LETTER, STALE_HAND_WORK = "DeadLetter", "StaleHandWork"
STALLED_PROGRESS, NAME_CLASH, WEBHOOK_OFF = "StalledProgress", "NameClash", "WebhookOff"
DUE_SOON, OVERDUE = "DueSoon", "Overdue"
"""The codes of what needs a person beside those of R26.

Progress is stalled where a worker keeps its lease alive, but has sent neither a checkpoint nor its
progress for the `stalled_seconds` of the instance. A task is due soon a day before its `due_at`.
Hopper switches a webhook off that has failed for a day.
"""

SOON = timedelta(hours=24)

_RESTING = {
    "awaiting_triage": W.AWAITING_TRIAGE,
    "manual_queue": W.MANUAL_QUEUE,
    "unassigned": W.UNASSIGNED,
}
_DUE = ("overdue", "due_soon")
KINDS = ("blocked", "failed", *_RESTING, "stale_hand_work", "stalled_progress", *_DUE)
"""The kinds of tasks that wait for a person, as the counts name them."""

_PRESSING = frozenset({*ATTENTION, *_RESTING.values()})
_NOT_OVER = Q(status__in=(*UNFINISHED, TaskStatus.FAILED))
"""True of each task that waits for a person. The database finds these tasks by an index."""

_STEPS = {
    DEAD_LETTER: ("hopper task retry {task}", "POST /tasks/{task}/retry"),
    STALE_HAND_WORK: ("hopper task complete {task}", "POST /tasks/{task}/complete"),
    STALLED_PROGRESS: ("hopper task status {task} open --force", "POST /tasks/{task}/status"),
    DUE_SOON: ("hopper task why {task}", "GET /tasks/{task}/why"),
    OVERDUE: ("hopper task why {task}", "GET /tasks/{task}/why"),
}


class Attention:
    """The tasks and instances that wait for a person, of those in two querysets.

    The places of all instances are read once for all lists and counts.
    """

    def __init__(self, tasks: TaskQuerySet, instances: InstanceQuerySet) -> None:
        self._tasks, self._instances, self._now = tasks, instances, database.now()

    @cached_property
    def reasons(self) -> dict[str, int]:
        """The number of unfinished tasks by reason (R26)."""
        return count_reasons(self._tasks, self._places)

    def counts(self) -> dict[str, int]:
        """Return how many tasks wait for a person, by kind.

        Of instances those count that share their name with an older sibling (R25), and webhooks
        that Hopper has switched off.
        """
        waiting, tasks = self.reasons, self._tasks
        found = {
            "blocked": sum(waiting.get(code, 0) for code in ATTENTION),
            "failed": tasks.dead_letters().count(),
            "awaiting_triage": waiting.get(W.AWAITING_TRIAGE, 0),
            "manual_queue": waiting.get(W.MANUAL_QUEUE, 0),
            "unassigned": waiting.get(W.UNASSIGNED, 0),
            "stale_hand_work": tasks.filter(_stale(self._now)).count(),
            "stalled_progress": tasks.filter(self._stalled).count(),
            "name_clashes": self._instances.clashing().count(),
            "webhooks_off": _switched_off(self._instances).count(),
            **self._due_counts(),
        }
        return found | {"total": sum(found.values())}

    def groups(self, limit: int, kind: str = "") -> list[dict[str, Any]]:
        """Return what waits for a person, grouped by who can move it.

        At most `limit` of each kind of row, the tasks that changed least recently; with `kind`, one
        of `KINDS`, the tasks of that kind alone. A group is {who, tasks, instances}; a task says
        its code, detail, open question and next step, an instance likewise.
        """
        here = self._of_kind(kind) & _NOT_OVER if kind else self._waits | _due(self._now)
        rows = list(self._tasks.filter(here).order_by("updated_at", "id")[:limit])
        reasons, questions = waiting_on(rows), Question.objects.of_tasks(rows)
        only_due = self._only_due(rows)
        groups: dict[str, dict[str, list[dict[str, Any]]]] = defaultdict(
            lambda: {"tasks": [], "instances": []}
        )
        for task in rows:
            reason = reasons.get(task.pk)
            who, entry = _entry(task, reason, self._now if task.pk in only_due else None)
            asked = next((one for one in questions.get(task.pk, ()) if one.is_open), None)
            groups[who]["tasks"].append({**_brief(task), **entry, "question": _shown(asked)})
        if kind:
            return [{"who": who, **groups[who]} for who in sorted(groups)]
        for instance in self._instances.clashing().order_by("pk")[:limit]:
            groups[operator_of(instance.pk)]["instances"].append(_clash(instance))
        off = _switched_off(self._instances).select_related("instance").order_by("pk")
        for webhook in off[:limit]:
            groups[f"an admin of {webhook.instance_id}"]["instances"].append(_webhook_off(webhook))
        return [{"who": who, **groups[who]} for who in sorted(groups)]

    @cached_property
    def _places(self) -> Places:
        return Places.all()

    @cached_property
    def _stalled(self) -> Q:
        """The condition for work under a lease that has not got on for too long."""
        return _stalled_at(((one.id, one.stalled_seconds) for one in self._places), self._now)

    @cached_property
    def _waits(self) -> Q:
        """The condition for tasks that wait for a person, whenever they are due."""
        where = Q(pk__in=[])
        for kind in KINDS:
            if kind not in _DUE:
                where |= self._of_kind(kind)
        return where & _NOT_OVER

    def _of_kind(self, kind: str) -> Q:
        """Return the condition for the tasks of one kind."""
        if kind in _RESTING:
            return waiting_condition(_RESTING[kind], self._places)
        if kind == "stalled_progress":
            return self._stalled
        return {
            "blocked": Q(status=TaskStatus.BLOCKED),
            "failed": Q(status=TaskStatus.FAILED, discarded_at=None),
            "stale_hand_work": _stale(self._now),
            "overdue": _due(self._now) & Q(due_at__lte=self._now),
            "due_soon": _due(self._now) & Q(due_at__gt=self._now),
        }[kind]

    def _only_due(self, rows: list[Task]) -> set[str]:
        """Return the ids of those of `rows` that are listed only because they are due."""
        soon = self._now + SOON
        ids = {row.pk for row in rows if row.due_at and row.due_at < soon and not row.is_terminal}
        if not ids:
            return ids
        return ids - set(self._tasks.filter(self._waits, pk__in=ids).values_list("pk", flat=True))

    def _due_counts(self) -> dict[str, int]:
        """Return how many tasks are due soon and overdue, without those counted already."""
        due = self._tasks.filter(_due(self._now))
        if not due.exists():
            return {"due_soon": 0, "overdue": 0}
        times = due.exclude(self._waits).values_list("due_at", flat=True)
        overdue = sum(1 for at in times if at and at <= self._now)
        return {"due_soon": len(times) - overdue, "overdue": overdue}


def attention_flags(holders: Iterable[tuple[str, int | None]], now: datetime) -> dict[str, Q]:
    """Return the conditions, beside the reason, under which a task waits for a person.

    `holders` are instances with their `stalled_seconds`.
    """
    return {"stale": _stale(now), "stalled": _stalled_at(holders, now), "due": _due(now)}


def needs_person(code: str, flags: Container[str]) -> bool:
    """Return whether a task with this code, and with these of `attention_flags`, needs a person."""
    return code in _PRESSING or any(name in flags for name in ("stale", "stalled", "due"))


def _clash(instance: HopperInstance) -> dict[str, Any]:
    """Return an instance that shares its name with an older sibling, and the next step."""
    rename = f"hopper instance update {instance.pk} --name NAME"
    return {
        "instance_id": instance.pk,
        "name": instance.name,
        "code": NAME_CLASH,
        "detail": f"an older sibling has the name {instance.name!r}, so only the id names this one",
        "next": {"command": rename, "request": f"PATCH /instances/{instance.pk}"},
    }


def _switched_off(instances: InstanceQuerySet) -> WebhookQuerySet:
    return Webhook.objects.switched_off().filter(instance__in=instances.values("pk"))


def _webhook_off(webhook: Webhook) -> dict[str, Any]:
    """Return the instance of a webhook that Hopper has switched off, and the next step."""
    return {
        "instance_id": webhook.instance_id,
        "name": webhook.instance.name,
        "code": WEBHOOK_OFF,
        "detail": f"{webhook.pk} is switched off: {webhook.off_reason}",
        "next": {
            "command": f"hopper webhook replay {webhook.pk}",
            "request": f"POST /webhooks/{webhook.pk}/replay",
        },
    }


def _due(now: datetime) -> Q:
    """Return the condition for unfinished tasks that are overdue or due soon."""
    return Q(status__in=UNFINISHED) & Q(due_at__lt=now + SOON)


def _stale(now: datetime) -> Q:
    """Return the condition for work by hand that nobody has touched for long."""
    by_hand = Q(status__in=(TaskStatus.CLAIMED, TaskStatus.IN_PROGRESS), lease_seconds=None)
    return by_hand & Q(decomposed=False, updated_at__lt=now - STALE)


def _stalled_at(holders: Iterable[tuple[str, int | None]], now: datetime) -> Q:
    """Return the condition for work under a lease that has not got on for too long.

    `holders` are all instances that may hold the tasks, with their `stalled_seconds`.
    """
    alike: dict[int | None, list[str]] = defaultdict(list)
    for pk, seconds in holders:
        alike[seconds].append(pk)
    # Most instances have the same setting: the statement names the others alone.
    usual = max(alike, key=lambda seconds: len(alike[seconds]), default=None)
    named = [pk for seconds, ids in alike.items() if seconds != usual for pk in ids]
    late = Q(pk__in=[])
    for seconds, ids in alike.items():
        if seconds is not None:
            there = ~Q(instance_id__in=named) if seconds == usual else Q(instance_id__in=ids)
            since = now - timedelta(seconds=seconds)
            late |= there & Q(reported_at__lt=since)
            late |= there & Q(reported_at=None, started_at__lt=since)
    return Q(pk__in=Attempt.objects.filter(late, outcome=None).values("task_id"))


def _brief(task: Task) -> dict[str, Any]:
    return {
        "task_id": task.pk,
        "title": task.title,
        "status": task.status,
        "priority": task.priority,
        "instance_id": task.instance_id,
    }


def _entry(
    task: Task, reason: dict[str, Any] | None, now: datetime | None
) -> tuple[str, dict[str, Any]]:
    """Return who can move a task, and why it waits with the next step.

    `now` is the present for a task that is listed only because of its `due_at`, else None.
    """
    if reason is not None and reason["code"] != W.IN_PROGRESS and now is None:
        names = ("code", "detail", "since", "until")
        entry = {name: reason[name] for name in names} | {"next": next_step(task, reason)}
        return str(reason["who"]), entry
    who, since = operator_of(task.instance_id), task.updated_at
    until: datetime | None = None
    if reason is None:
        code, since, detail = DEAD_LETTER, task.finished_at or since, task.error
    elif now is not None:
        until = task.due_at
        code = OVERDUE if until and until <= now else DUE_SOON
        who, detail = task.worker or who, reason["detail"]
    elif task.has_live_lease:
        code, detail = STALLED_PROGRESS, f"{task.worker} reports no progress"
    else:
        who, code = task.worker, STALE_HAND_WORK
        detail = f"{task.worker} has not touched it for long"
    command, request = _STEPS[code]
    entry = {
        "code": code,
        "detail": detail,
        "since": since.isoformat(),
        "until": until.isoformat() if until else None,
        "next": {"command": command.format(task=task.pk), "request": request.format(task=task.pk)},
    }
    return who, entry


def _shown(question: Question | None) -> dict[str, Any] | None:
    if question is None:
        return None
    names = ("id", "text", "choices", "default", "asked_by", "instance_id")
    return {name: getattr(question, name) for name in names}
