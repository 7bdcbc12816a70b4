"""The reason of a wait in words: object, since, until, and who can move the task (R26)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple

from django.db.models import Count, Min, OuterRef, Q, Subquery, Value
from django.db.models.functions import Concat

from hopper.counts import counted
from instances.choices import (
    ATTENTION,
    PLACING_BLOCKS,
    TERMINAL,
    InstanceStatus,
    TaskStatus,
    WaitingCode as W,
)
from instances.models import Event, HopperInstance, Question, Task, TaskDependency
from instances.waiting.line import Position
from instances.waiting.places import Hindrance, Places

Reason = dict[str, Any]
"""{code, detail, object, since, until, who}; times as text."""

SWEEP = "the sweep"
_TIME = "nobody: the task goes on by itself when its time comes"


class _ChildCount(NamedTuple):
    """The children of a parent: all, those that have ended, and the first open one."""

    total: int = 0
    ended: int = 0
    first_open: str | None = None


class Wording:
    """The values that the reasons of a page need, read once for the page."""

    def __init__(
        self,
        tasks: Sequence[Task],
        codes: Mapping[str, W],
        places: Places,
        line: Mapping[str, Position],
    ) -> None:
        self._codes, self._places, self._line = codes, places, line
        self._before = _unfinished_predecessors(
            [task.pk for task in tasks if codes[task.pk] == W.WAITING_DEPENDENCIES]
        )
        self._children = _child_counts(
            [task.pk for task in tasks if codes[task.pk] == W.WAITING_CHILDREN]
        )
        hindrances = filter(None, map(self._hindrance, tasks))
        self._since = _last_changes({one.instance_id for one in hindrances})
        asked = Question.objects.of_tasks(tasks)
        self._open = {pk: row for pk, rows in asked.items() for row in rows if row.is_open}

    def reason(self, task: Task) -> Reason:
        """Return the reason of a task for a known code."""
        code = self._codes[task.pk]
        if code in ATTENTION:
            words = self._decision(task, code)
        elif hindrance := self._hindrance(task):
            words = self._hindered(task, hindrance)
        else:
            words = getattr(self, f"_{code.name.lower()}")(task, str(task.instance_id))
        return {
            "code": str(code),
            "detail": "",
            "object": task.pk,
            "since": _text(task.updated_at),
            "until": None,
            "who": None,
        } | self._with_question(task, words)

    def _with_question(self, task: Task, words: Reason) -> Reason:
        """Return the reason with the open question beside it, where it is not the reason (R11)."""
        question = self._open.get(task.pk)
        if question is None or task.waiting.get("question") == question.pk:
            return words
        asker = question.instance_id
        return {**words, "detail": f"{words['detail']}; {asker} asks: {question.text}"}

    def _hindrance(self, task: Task) -> Hindrance | None:
        """Return the obstacle of a task's holder, or of the target that has to answer."""
        if task.status != TaskStatus.PENDING:
            return None
        place = task.offered_to_id or task.instance_id
        return self._places[place].hindrance if place else None

    def _decision(self, task: Task, code: W) -> Reason:
        stored = task.waiting
        asks = code in PLACING_BLOCKS or stored.get("question")
        who = operator_of(task.instance_id) if asks and task.instance_id else "a person"
        return {
            "detail": stored.get("detail") or "blocked",
            "object": stored.get("object") or task.pk,
            "since": stored.get("since") or _text(task.updated_at),
            "until": stored.get("until"),
            "who": who,
        }

    def _hindered(self, task: Task, hindrance: Hindrance) -> Reason:
        at, status = hindrance.instance_id, hindrance.status
        place = str(task.offered_to_id or task.instance_id)
        words = f"{at} is {status}" if at == place else f"{at}, above {place}, is {status}"
        offered = task.offered_to_id is not None
        return {
            "detail": f"offered to {place}, but {words}" if offered else words,
            "object": at,
            "since": _text(self._since.get(at)),
            "until": task.waiting.get("until") if offered else None,
            "who": operator_of(at),
        }

    def _routing(self, task: Task, holder: str) -> Reason:
        failed = "" if task.waiting_code else task.waiting.get("detail", "")
        return {
            "detail": failed or f"{holder} is about to place it",
            "object": holder,
            "who": operator_of(holder) if failed else "the router",
        }

    def _awaiting_acceptance(self, task: Task, holder: str) -> Reason:
        detail = f"offered to {task.offered_to_id}, which has not answered yet"
        why = task.waiting.get("why")
        return self._offered(task, f"{detail}: {why}" if why else detail)

    def _awaiting_escalation(self, task: Task, holder: str) -> Reason:
        return self._offered(task, f"escalated to {task.offered_to_id}, which has not accepted yet")

    def _offered(self, task: Task, detail: str) -> Reason:
        stored = task.waiting
        return {
            "detail": detail,
            "object": stored.get("object") or task.offered_to_id,
            "since": stored.get("since") or _text(task.updated_at),
            "until": stored.get("until"),
            "who": operator_of(task.offered_to_id),
        }

    def _waiting_dependencies(self, task: Task, holder: str) -> Reason:
        before = self._before.get(task.pk)
        if not before:
            return {"detail": "its predecessors have ended: the next sweep moves it", "who": SWEEP}
        more = f" and {len(before) - 5} more" if len(before) > 5 else ""
        return {
            "detail": f"after {', '.join(before[:5])}{more}",
            "object": before[0],
            "who": f"the worker of {before[0]}",
        }

    def _waiting_children(self, task: Task, holder: str) -> Reason:
        total, ended, first = self._children.get(task.pk, _ChildCount())
        return {
            "detail": f"children({ended}/{total})",
            "object": first or task.pk,
            "since": task.waiting.get("since") or _text(task.updated_at),
            "who": f"the worker of {first}" if first else SWEEP,
        }

    def _at_capacity(self, task: Task, holder: str) -> Reason:
        place = self._places[holder]
        detail = f"{place.running} of {place.most} slots at {holder} are taken"
        who = f"the workers at {holder}: a task that ends there makes room"
        if not place.most:
            detail = f"{holder} grants no leases: its max_concurrent_tasks is 0"
            who = operator_of(holder)
        return {"detail": detail, "object": holder, "who": who}

    def _queue_position(self, task: Task, holder: str) -> Reason:
        stands, free = self._line.get(task.pk), self._places[holder].free
        slots, in_front = counted(free, "slot", "is", "are"), "many tasks stand"
        if stands:
            in_front = counted(stands.place - 1, "task", "stands", "stand")
        return {
            "detail": f"{in_front} before it at {holder}, where {slots} free",
            "object": holder,
            "who": "a worker, after the tasks in front",
        }

    def _not_before(self, task: Task, holder: str) -> Reason:
        return {
            "detail": "its not_before lies ahead",
            "until": _text(task.not_before),
            "who": _TIME,
        }

    def _retry_backoff(self, task: Task, holder: str) -> Reason:
        error = f": {task.error}" if task.error else ""
        return {
            "detail": f"failed {counted(task.failures, 'time')}{error}",
            "until": _text(task.retry_at),
            "who": _TIME,
        }

    def _in_progress(self, task: Task, holder: str) -> Reason:
        return {
            "detail": f"{task.worker or 'somebody'} works on it",
            "until": _text(task.lease_expires_at),
            "who": task.worker or "its worker",
        }

    def _ready_for_worker(self, task: Task, holder: str) -> Reason:
        return {"detail": f"waits at {holder} for a worker", "object": holder, "who": "a worker"}

    def _manual_queue(self, task: Task, holder: str) -> Reason:
        detail = f"waits at {holder} for somebody to take it"
        return {"detail": detail, "object": holder, "who": f"a person at {holder}"}

    def _awaiting_triage(self, task: Task, holder: str) -> Reason:
        detail = f"nothing below {holder} matches the task: delegate it by hand"
        return {"detail": detail, "object": holder, "who": operator_of(holder)}

    def _unassigned(self, task: Task, holder: str) -> Reason:
        detail = "no instance holds the task"
        return {"detail": detail, "who": "a person who takes or delegates the task"}


def operator_of(instance_id: str | None) -> str:
    """Return the person who can decide or change something at an instance."""
    return f"an operator of {instance_id}"


def _text(time: datetime | None) -> str | None:
    return time.isoformat() if time else None


def _unfinished_predecessors(task_ids: list[str]) -> dict[str, list[str]]:
    """Return the predecessors that have not ended, by task."""
    if not task_ids:
        return {}
    found: dict[str, list[str]] = {}
    rows = TaskDependency.objects.filter(task__in=task_ids).order_by("id")
    unfinished = rows.exclude(depends_on__status__in=TERMINAL)
    for task_id, before in unfinished.values_list("task_id", "depends_on_id"):
        found.setdefault(task_id, []).append(before)
    return found


def _child_counts(parent_ids: list[str]) -> dict[str, _ChildCount]:
    """Return the counts of the children of each parent."""
    if not parent_ids:
        return {}
    ended = Q(status__in=TERMINAL)
    rows = Task.objects.filter(parent__in=parent_ids).exclude(status=TaskStatus.CANCELLED)
    counted = (
        rows.order_by()
        .values_list("parent_id")
        .annotate(Count("pk"), ended=Count("pk", filter=ended), first=Min("pk", filter=~ended))
    )
    return {pk: _ChildCount(*counts) for pk, *counts in counted}


def _last_changes(instance_ids: set[str]) -> dict[str, datetime]:
    """Return the time since when instances have their status, from their feeds."""
    if not instance_ids:
        return {}
    kind = Concat(Value("instance."), OuterRef("status"))
    changes = Event.objects.filter(instance=OuterRef("pk"), kind=kind).order_by("-id")
    rows = HopperInstance.objects.filter(pk__in=instance_ids)
    return dict(rows.values_list("pk", Subquery(changes.values("at")[:1])))


_DELEGATE = ("hopper task delegate {task} --to INSTANCE", "POST /tasks/{task}/delegate")
_RENAME = ("hopper task update {task} --project NAME", "PATCH /tasks/{task}")
_OPEN = ("hopper task status {task} open", "POST /tasks/{task}/status")
_ACCEPT = ("hopper delegation accept {object}", "POST /delegations/{object}/accept")
_ASK = ("hopper task why {object}", "GET /tasks/{object}/why")
_CLAIM = ("hopper task claim {task}", "POST /tasks/{task}/claim")
_ANSWER = ("hopper task answer {task} --answer TEXT", "POST /tasks/{task}/answer")
_LEFT_OVER = ("hopper sweep", "GET /tasks/{task}/why")
"""The next step for waits that only the sweep ends: look again later."""
_CLOSED = ("hopper config show --instance {object}", "PATCH /instances/{object}")
"""The next step for a queue with a limit of 0: change its configuration."""

_STEPS = {
    W.UNROUTABLE: _DELEGATE,
    W.CAPABILITY_GAP: _DELEGATE,
    W.HOP_LIMIT: _OPEN,
    W.AMBIGUOUS_TARGET: _RENAME,
    W.EXPLICIT_TARGET_MISSING: _RENAME,
    W.EXPLICIT_TARGET_REFUSED: _RENAME,
    W.DEPENDENCY_FAILED: ("hopper task retry {object}", "POST /tasks/{object}/retry"),
    W.INPUT_REQUIRED: _OPEN,
    W.ROUTING: ("hopper sweep", "POST /tasks/{task}/route"),
    W.AWAITING_ACCEPTANCE: _ACCEPT,
    W.AWAITING_ESCALATION: _ACCEPT,
    W.WAITING_DEPENDENCIES: _ASK,
    W.WAITING_CHILDREN: _ASK,
    W.AT_CAPACITY: (
        "hopper task list --instance {object} --waiting InProgress",
        "GET /tasks?instance_id={object}&waiting_code=InProgress",
    ),
    W.QUEUE_POSITION: (
        "hopper task claim --instance {object}",
        "POST /instances/{object}/claim",
    ),
    W.IN_PROGRESS: ("hopper task complete {task}", "POST /tasks/{task}/complete"),
    W.READY_FOR_WORKER: _CLAIM,
    W.MANUAL_QUEUE: _CLAIM,
    W.AWAITING_TRIAGE: _DELEGATE,
    W.UNASSIGNED: _DELEGATE,
}
_VERBS = {
    InstanceStatus.CREATED: "start",
    InstanceStatus.STARTING: "start",
    InstanceStatus.STOPPED: "start",
    InstanceStatus.PAUSED: "resume",
    InstanceStatus.ERROR: "recover",
}
_BY_TIME = (W.NOT_BEFORE, W.RETRY_BACKOFF)


def next_step(task: Task, reason: Reason) -> dict[str, str] | None:
    """Return {command, request}, the next step for a person, or None where only time helps."""
    code = W(reason["code"])
    if code in _BY_TIME:
        return None
    if reason["who"] == SWEEP:
        command, request = _LEFT_OVER
    elif code == W.AT_CAPACITY and reason["who"] == operator_of(reason["object"]):
        command, request = _CLOSED
    elif code == W.INPUT_REQUIRED and task.waiting.get("question"):
        command, request = _ANSWER
    elif code in _STEPS:
        command, request = _STEPS[code]
    else:
        command, request = _about_instance(reason["object"])
    names = {"task": task.pk, "object": reason["object"]}
    return {"command": command.format(**names), "request": request.format(**names)}


def in_words(task: Task, reason: Reason | None, step: dict[str, str] | None) -> str:
    """Return the wait of a task in sentences: object, since, until, and who can move the task."""
    if reason is None:
        return f"the task is {task.status}"
    sentences = [f"{reason['code']}: {reason['detail']}."]
    if reason["since"]:
        sentences.append(f"Since {_minute(reason['since'])}.")
    if reason["until"]:
        sentences.append(f"Until {_minute(reason['until'])}.")
    sentences.append(f"Who can move it: {reason['who']}.")
    if step:
        sentences.append(f"Next: {step['command']}")
    return " ".join(sentences)


def _about_instance(instance_id: Any) -> tuple[str, str]:
    status = HopperInstance.objects.values_list("status", flat=True).get(pk=instance_id)
    verb = _VERBS.get(InstanceStatus(status))
    if verb is None:
        # A task begins anew only after it has come to rest.
        return "hopper instance stop {object} --force", "POST /instances/{object}/stop"
    return f"hopper instance {verb} {{object}}", f"POST /instances/{{object}}/{verb}"


def _minute(time: str) -> str:
    return f"{time[:16].replace('T', ' ')} UTC"
