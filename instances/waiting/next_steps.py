"""What to do about a reason (R26): the command and the request that move the task on."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from instances.choices import InstanceStatus
from instances.choices import WaitingCode as W
from instances.models import HopperInstance
from instances.waiting.wording import SWEEP, operator_of

if TYPE_CHECKING:
    from instances.models import Task
    from instances.waiting.wording import Reason

_DELEGATE = ("hopper task delegate {task} --to INSTANCE", "POST /tasks/{task}/delegate")
_RENAME = ("hopper task update {task} --project NAME", "PATCH /tasks/{task}")
_OPEN = ("hopper task status {task} open", "POST /tasks/{task}/status")
_ACCEPT = ("hopper delegation accept {object}", "POST /delegations/{object}/accept")
_ASK = ("hopper task why {object}", "GET /tasks/{object}/why")
_CLAIM = ("hopper task claim {task}", "POST /tasks/{task}/claim")
_LEFT_OVER = ("hopper sweep", "GET /tasks/{task}/why")
"""What only the sweep does: nothing over HTTP is quicker than looking again."""
_CLOSED = ("hopper config show --instance {object}", "PATCH /instances/{object}")
"""A queue that gives nothing out is opened by its configuration."""

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
_TIME = (W.NOT_BEFORE, W.RETRY_BACKOFF)


def next_step(task: Task, reason: Reason) -> dict[str, str] | None:
    """Return {command, request} for whoever can move the task; None where only time does."""
    code = W(reason["code"])
    if code in _TIME:
        return None
    if reason["who"] == SWEEP:
        command, request = _LEFT_OVER
    elif code == W.AT_CAPACITY and reason["who"] == operator_of(reason["object"]):
        command, request = _CLOSED
    elif code in _STEPS:
        command, request = _STEPS[code]
    else:
        command, request = _about_instance(reason["object"])
    names = {"task": task.pk, "object": reason["object"]}
    return {"command": command.format(**names), "request": request.format(**names)}


def in_words(task: Task, reason: Reason | None, step: dict[str, str] | None) -> str:
    """Return in sentences why a task waits: what for, since and until when, who can move it."""
    if reason is None:
        return f"it is {task.status}"
    told = [f"{reason['code']}: {reason['detail']}."]
    if reason["since"]:
        told.append(f"Since {_minute(reason['since'])}.")
    if reason["until"]:
        told.append(f"Until {_minute(reason['until'])}.")
    told.append(f"Who can move it: {reason['who']}.")
    if step:
        told.append(f"Next: {step['command']}")
    return " ".join(told)


def _about_instance(instance_id: Any) -> tuple[str, str]:
    status = HopperInstance.objects.values_list("status", flat=True).get(pk=instance_id)
    verb = _VERBS.get(InstanceStatus(status))
    if verb is None:
        # It begins anew only after it has come to rest.
        return "hopper instance stop {object} --force", "POST /instances/{object}/stop"
    return f"hopper instance {verb} {{object}}", f"POST /instances/{{object}}/{verb}"


def _minute(time: str) -> str:
    return f"{time[:16].replace('T', ' ')} UTC"
