"""The verbs of the pages: their forms, and the call of the REST interface behind each."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from django.http import QueryDict

from delegation.pages.calls import Call
from hopper.protocol import PRIORITIES
from hopper.task_fields import BY_NAME


@dataclass(frozen=True)
class Box:
    """One input of a form. `kind`: line, text, words, choice, check, time or hidden."""

    name: str
    label: str = ""
    kind: str = "line"
    required: bool = False
    choices: tuple[str, ...] = ()
    words: str = ""
    length: int | None = None

    def read(self, sent: QueryDict) -> Any:
        """Return the value for the call, None where the box was left empty."""
        if self.kind == "check":
            return self.name in sent
        text = sent.get(self.name, "").replace("\r\n", "\n")
        if self.kind == "words":
            return [word for word in (part.strip() for part in text.split(",")) if word]
        if self.kind == "time":
            return f"{text}:00Z" if len(text) == len("2026-01-01T00:00") else text or None
        return text if self.kind == "text" else text.strip()


@dataclass(frozen=True)
class Verb:
    """One action of a person on an instance or a task.

    `path` of the call names the object as {pk} and boxes by their names. `preview` asks for the
    changes before the button is shown. `grave` verbs are not taken back. `whole` sends empty boxes
    too, because an empty one says that the value goes.
    """

    name: str
    title: str
    words: str
    path: str
    method: str = "POST"
    boxes: tuple[Box, ...] = ()
    role: str = "operator"
    preview: bool = False
    grave: bool = False
    whole: bool = False
    said: str = ""

    def call(
        self,
        pk: str,
        sent: QueryDict,
        *,
        preview: bool = False,
        only: Collection[str] | None = None,
    ) -> Call:
        """Return the call for the values that the form sent. `only` limits it to these boxes."""
        boxes = [box for box in self.boxes if only is None or box.name in only]
        values = {box.name: box.read(sent) for box in boxes}
        if not self.whole:
            values = {name: value for name, value in values.items() if value not in (None, "", [])}
        named = {name: quote(str(value), safe="") for name, value in values.items()}
        path = self.path.format_map({"pk": quote(pk, safe=""), **_Missing(named)})
        if self.method == "DELETE":
            flags = [name for name, value in values.items() if value is True]
            flags += ["preview"] if preview else []
            return Call("DELETE", f"{path}?{'&'.join(f'{name}=true' for name in flags)}")
        body = {name: value for name, value in values.items() if f"{{{name}}}" not in self.path}
        return Call(self.method, path, {**body, "preview": True} if preview else body)


class _Missing(dict[str, str]):
    def __missing__(self, name: str) -> str:
        return "-"


_REASON = Box("reason", "Reason", words="Kept in the history.", length=500)
_FORCE = Box("force", "Take running work away now", "check")


def _task_box(name: str, label: str, kind: str = "line", **more: Any) -> Box:
    """Return a box for a field of a task, with the words and bounds of the field list."""
    listed = BY_NAME[name]
    return Box(name, label, kind, words=listed.words, length=listed.length, **more)


_DESCRIBING = (
    _task_box("title", "Title", required=True),
    _task_box("description", "Description", "text"),
    _task_box("priority", "Priority", "choice", choices=PRIORITIES),
    _task_box("tags", "Tags", "words"),
    _task_box("project", "Project"),
    _task_box("due_at", "Due", "time"),
)


def _simple(name: str, words: str, said: str) -> Verb:
    return Verb(name, name.capitalize(), words, f"/instances/{{pk}}/{name}", said=said)


INSTANCE_VERBS = {
    verb.name: verb
    for verb in (
        Verb(
            "add", "Add a task", "The task enters here and is routed by the rules.", "/tasks",
            boxes=(Box("instance_id", kind="hidden"), *_DESCRIBING), role="worker",
            said="Task added.",
        ),
        _simple("start", "The instance takes and passes on work.", "Started."),
        _simple("pause", "Nothing new begins here or below. Running work goes on.", "Paused."),
        _simple("resume", "The instance works again.", "Resumed."),
        _simple("recover", "An instance in error works again.", "Recovered."),
        Verb(
            "stop", "Stop", "Running work finishes first. Waiting tasks stay or move away.",
            "/instances/{pk}/stop", preview=True, said="Stopping.",
            boxes=(_FORCE, Box("evacuate", "Place waiting tasks elsewhere", "check")),
        ),
        Verb(
            "close", "Close the run", "The run ends. Its summary goes to the parent.",
            "/instances/{pk}/close", preview=True, grave=True, boxes=(_FORCE,), said="Closed.",
        ),
        Verb(
            "move", "Move", "The instance and all below it get another parent.",
            "/instances/{pk}", "PATCH", (Box("parent_id", "New parent", "choice", required=True),),
            role="admin", said="Moved.",
        ),
        Verb(
            "terminate", "Terminate", "The instance ends for good. Unfinished tasks move up.",
            "/instances/{pk}", "DELETE",
            (Box("cascade", "With everything below", "check"),),
            role="admin", preview=True, grave=True, said="Terminated.",
        ),
    )
}  # fmt: skip
"""The verbs on an instance, in the order of the menu."""

TASK_VERBS = {
    verb.name: verb
    for verb in (
        Verb(
            "answer", "Answer", "The answer goes to the worker that asked.",
            "/tasks/{pk}/answer", said="Answered.",
            boxes=(Box("question_id", kind="hidden"), Box("answer", "Answer", "text", True)),
        ),
        Verb(
            "take", "Take it", "The task becomes yours, in progress.", "/tasks/{pk}/status",
            boxes=(Box("status", kind="hidden"), Box("owner", kind="hidden")),
            role="worker", said="The task is yours.",
        ),
        Verb(
            "done", "Done", "The task ends as done.", "/tasks/{pk}/complete", role="worker",
            boxes=(Box("result", "Result", "text", words="Any text. It goes up with the task."),),
            said="Done.",
        ),
        Verb(
            "release", "Give it back", "The task waits for another hand.", "/tasks/{pk}/release",
            boxes=(_REASON,), role="worker", said="Given back.",
        ),
        Verb(
            "accept", "Accept the offer", "The task moves to the instance that it is offered to.",
            "/delegations/{delegation_id}/accept", boxes=(Box("delegation_id", kind="hidden"),),
            said="Accepted.",
        ),
        Verb(
            "reject", "Refuse the offer", "The task stays, and is placed elsewhere.",
            "/delegations/{delegation_id}/reject", said="Refused.",
            boxes=(
                Box("delegation_id", kind="hidden"), Box("reason", "Reason", "line", True),
            ),
        ),
        Verb(
            "delegate", "Delegate", "Offer the task to an instance by name.",
            "/tasks/{pk}/delegate", said="Delegated.",
            boxes=(Box("target_instance_id", "To", "choice", True), Box("notes", "Notes")),
        ),
        Verb("route", "Place again", "The rules place the task anew.", "/tasks/{pk}/route",
             said="Placed again."),
        Verb(
            "open", "Unblock", "The task waits as pending again.", "/tasks/{pk}/status",
            boxes=(Box("status", kind="hidden"), _REASON), said="Unblocked.",
        ),
        Verb(
            "comment", "Comment", "Your words stand beside the task.", "/tasks/{pk}/comments",
            boxes=(Box("text", "Comment", "text", True),), role="worker", said="Commented.",
        ),
        Verb(
            "edit", "Edit", "Another project, tag or capability places the task anew.",
            "/tasks/{pk}", "PATCH", _DESCRIBING, whole=True, said="Saved.",
        ),
        Verb(
            "retry", "Retry", "The task opens again at its last living holder.",
            "/tasks/{pk}/retry", boxes=(_REASON,), said="Open again.",
        ),
        Verb(
            "discard", "Discard", "The task stays failed and leaves the dead letters.",
            "/tasks/{pk}/discard", boxes=(_REASON,), said="Discarded.",
        ),
        Verb(
            "cancel", "Cancel the task", "The task and its open children end.",
            "/tasks/{pk}/cancel", boxes=(_REASON,), preview=True, grave=True, said="Cancelled.",
        ),
    )
}  # fmt: skip
"""The verbs on a task, in the order of the buttons."""

FIXED = {"take": {"status": "in_progress"}, "open": {"status": "pending"}}
"""The values of hidden boxes that are always the same."""
