"""The fields of a task, listed once for REST, the command line, MCP and the admin.

Does not import Django, so that the command line can read the list. A new field is a column in
`instances/models/task.py` with its migration, and one entry here.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from hopper.protocol import PRIORITIES

CREATE, EDIT, CHILD, TERMS = "create", "edit", "child", "terms"
"""The occasions for setting a field: a new task, an edit, a child of a decomposition, and the terms
that a decomposition sets for the parent."""

_ANY = (CREATE, EDIT, CHILD)

_RULES = re.compile(r" \(R\d+(, R\d+)*\)")
_JSON_TYPES = {"words": "array", "whole": "integer", "object": "object"}


@dataclass(frozen=True)
class TaskField:
    """A field: what its value means (`words`), which values are valid, and when it may be set.

    `kind` is the kind of its values: `text`, `line` (not blank), `word` (one of `choices`), `words`
    (a list of texts), `whole` (an integer), `time` (RFC 3339), `object` (JSON), or "" for a field
    that only Hopper writes. `length` limits the characters of a text, or of each text in a list.
    `least` and `most` limit an integer, `most` the length of a list.
    `option` is the spelling at the command line; `metavar` names the value in its help.
    An answer holds only the fields that are `shown`. The MCP tools offer the fields that are
    `for_agents`.
    """

    name: str
    words: str
    kind: str = ""
    set_at: tuple[str, ...] = ()
    required: bool = False
    nullable: bool = False
    length: int | None = None
    least: int | None = None
    most: int | None = None
    choices: tuple[str, ...] = ()
    example: Any = None
    option: str = ""
    metavar: str | None = None
    shown: bool = True
    for_agents: bool = True

    def json_schema(self) -> dict[str, Any]:
        """Return the JSON Schema of the values that a caller may send, without rule numbers."""
        schema: dict[str, Any]
        text = {"type": "string", "enum": list(self.choices), "maxLength": self.length}
        if self.kind not in _JSON_TYPES:
            schema = {**text, "format": "date-time" if self.kind == "time" else None}
        elif self.kind == "words":
            schema = {"type": "array", "items": _filled(text), "maxItems": self.most}
        else:
            schema = {"type": _JSON_TYPES[self.kind], "minimum": self.least, "maximum": self.most}
        examples = [] if self.example is None else [self.example]
        words = _RULES.sub("", self.words)
        return _filled({**schema, "description": words, "examples": examples})


def _filled(schema: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in schema.items() if value not in (None, [])}


def _text(name: str, words: str, length: int, **more: Any) -> TaskField:
    return TaskField(name, words, "text", _ANY, length=length, **more)


def _word(name: str, words: str, choices: tuple[str, ...], **more: Any) -> TaskField:
    return TaskField(name, words, "word", **{"set_at": _ANY, "choices": choices, **more})


def _words(name: str, words: str, length: int, most: int, **more: Any) -> TaskField:
    return TaskField(name, words, "words", _ANY, length=length, most=most, **more)


def _whole(name: str, words: str, least: int, most: int, **more: Any) -> TaskField:
    bounds = {"set_at": _ANY, "nullable": True, "least": least, "most": most}
    return TaskField(name, words, "whole", **{**bounds, **more})


def _id(name: str, words: str, length: int, set_at: tuple[str, ...], **more: Any) -> TaskField:
    return TaskField(name, words, "line", set_at, nullable=True, length=length, **more)


TASK_FIELDS = (
    TaskField("id", "The task's id: task- and hexadecimal digits."),
    TaskField(
        "title", "One line that says what to do.", "line", _ANY, required=True, length=500,
        example="Build the login page",
    ),
    _text(
        "description", "The whole brief, kept as it is written.", 10_000_000,
        option="-d --description", example="The page asks for name and password.",
    ),
    TaskField("status", "The state of the task (R19)."),
    _word(
        "priority",
        "How urgent the task is, medium by default; waiting raises low and medium (R22).",
        PRIORITIES, option="-p --priority",
    ),
    _text(
        "project", "The name or id of the project that shall do the task (R9).", 200,
        option="--project", example="web",
    ),
    _words(
        "tags", "Words by which the task is routed, filtered and claimed.", 200, 100,
        option="-t --tag", metavar="TAG", example=["python", "backend"],
    ),
    _id(
        "instance_id", "The instance that holds the task; at creation, where the task enters.", 100,
        (CREATE, CHILD), option="--instance", metavar="ID", example="hopper-global",
    ),
    TaskField("origin_instance_id", "The instance where the task came in."),
    TaskField("offered_to", "The instance that has not yet answered an offer of the task (R8)."),
    _id(
        "parent_id", "The task of which this one is a child (R13).", 64, (CREATE,),
        option="--parent", metavar="ID", example="task-0199c2b4",
    ),
    TaskField("root_id", "The task at the top of the family; its own id for a task alone."),
    _words(
        "depends_on", "The ids of the tasks that must end before this one begins (R23).", 64, 1000,
        option="--depends-on", metavar="ID", example=["task-0199c2b4"],
    ),
    TaskField("ready", "Whether the tasks in depends_on have ended as dependency_rule asks."),
    _words(
        "required_capabilities", "The capabilities that a worker must have, all of them.", 100, 50,
        option="--capability", metavar="WORD", example=["python"],
    ),
    _text("requester", "The person or system that asked for the task.", 200, for_agents=False),
    _text("owner", "The person responsible for the task.", 200, for_agents=False),
    _text(
        "source", "The system that sent the task; Hopper only keeps it.", 200,
        option="--source", for_agents=False,
    ),
    _text(
        "external_id", "The task's id elsewhere; Hopper only keeps it.", 500, for_agents=False
    ),
    _text(
        "external_url", "The task's address elsewhere; Hopper only keeps it.", 2000,
        for_agents=False,
    ),
    _text(
        "external_platform", "The system of external_id; Hopper only keeps it.", 200,
        for_agents=False,
    ),
    _text(
        "conversation_id", "The conversation the task came from; Hopper only keeps it.", 500,
        for_agents=False,
    ),
    TaskField(
        "traceparent", "The trace of the task (W3C Trace Context); set by the header traceparent.",
        "text", (CREATE, CHILD), length=55, for_agents=False,
        example="00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
    ),
    TaskField(
        "context", "Any JSON object for the worker; Hopper only keeps it.", "object", _ANY,
        example={"branch": "login"},
    ),
    _text(
        "task_type", "The kind of work; a project sends some kinds to an orchestration (R9).", 100,
        option="--task-type", example="migration",
    ),
    _whole(
        "complexity", "From 1 to 5; a project sends hard tasks to an orchestration (R9).", 1, 5,
        option="--complexity", metavar="1..5", example=3,
    ),
    _word(
        "executor_preference",
        "Who should do the task: a person by hand, workers of an orchestration, or any (R9).",
        ("any", "human", "orchestration"), option="--executor",
    ),
    _text(
        "estimated_effort", "The expected work; Hopper only keeps it.", 100,
        for_agents=False,
    ),
    _text(
        "velocity_requirement", "How soon the task is needed; Hopper only keeps it.", 100,
        for_agents=False,
    ),
    TaskField(
        "not_before", "No worker gets the task before this time: RFC 3339.", "time", _ANY,
        nullable=True, option="--not-before", metavar="TIME", example="2026-12-01T08:00:00Z",
    ),
    TaskField(
        "due_at", "By when the task should be done: RFC 3339. It is shown; it changes no order.",
        "time", _ANY, nullable=True, option="--due", metavar="TIME",
        example="2026-12-24T12:00:00Z",
    ),
    _id(
        "unique_key", "A key of yours: while a task with it is open, creating returns that task.",
        200, (CREATE,), example="nightly-report",
    ),
    _whole(
        "max_attempts",
        "Failed attempts until the task fails. null: the setting of the instance that holds it "
        "(R15).",
        1, 1000, example=5,
    ),
    _whole(
        "max_runtime_seconds",
        "Seconds that one attempt may run. null: the setting of the instance that holds it.",
        1, 604_800, option="--max-runtime", metavar="SECONDS", example=3600,
    ),
    TaskField("epoch", "How many times the task was opened or routed anew, from 1 (R10, R18)."),
    TaskField("attempt", "The number of the latest lease, from 1; 0 before the first."),
    TaskField("worker", "The worker that holds the lease."),
    TaskField("lease_expires_at", "When the lease ends unless the worker extends it (R21)."),
    _word(
        "completion",
        "Whether a parent closes with its children (auto) or returns to its holder (resume) (R13).",
        ("auto", "resume"), set_at=(CREATE, TERMS), option="--completion",
    ),
    _word(
        "failure_policy",
        "What the failure of a child means for the parent: wait_all: it fails when all have ended; "
        "fail_fast: it fails at once; best_effort: it is done if `quorum` are; resume: it returns "
        "to its holder (R14).",
        ("wait_all", "fail_fast", "best_effort", "resume"), set_at=(CREATE, TERMS),
        option="--failure-policy",
    ),
    _whole(
        "quorum", "How many children must be done under the policy best_effort (R14).",
        1, 1_000_000, set_at=(CREATE, TERMS), nullable=False, option="--quorum", metavar="N",
        example=2,
    ),
    _id(
        "key", "The child's name among its siblings, for depends_on and for repeating the call.",
        200, (CHILD,), example="api",
    ),
    _word(
        "failure_means",
        "What the failure of this child means: a failure_policy, or as_parent: that of its parent "
        "(R14).",
        ("as_parent", "wait_all", "fail_fast", "best_effort", "resume"),
    ),
    _word(
        "on_parent_close",
        "What happens to the task when its parent ends first: it is cancelled, or goes on alone "
        "(R16).",
        ("cancel", "abandon"), option="--on-parent-close",
    ),
    _word(
        "dependency_rule",
        "Which ends of the tasks in depends_on let this one begin: done alone, or also failed and "
        "cancelled (R23).",
        ("done", "any_terminal"), option="--dependency-rule",
    ),
    _word(
        "on_conflict", "The answer to a taken unique_key: return the open task, or refuse.",
        ("return_existing", "reject"), set_at=(CREATE,), shown=False, for_agents=False,
    ),
    TaskField("questions", "What was asked about the task, and the answers; oldest first (R11)."),
    TaskField("return_to", "The instance to which an answered task is on its way back (R11)."),
    TaskField("waiting_on", "The one reason why the task waits; null once it has ended (R26)."),
    TaskField("result", "The result that the worker reported: any JSON value."),
    TaskField("error", "The error of the latest failure."),
    TaskField("children", "How many children of each status the task has."),
    TaskField("created_by", "The actor that created the task."),
    TaskField("created_at", "When the task was created."),
    TaskField("updated_at", "When the task was last changed."),
    TaskField("started_at", "When work began."),
    TaskField("finished_at", "When the task ended."),
    TaskField("discarded_at", "When the task was taken out of the dead letters (R15)."),
)  # fmt: skip
"""All fields of a task, in the order in which answers show them."""

BY_NAME = {field.name: field for field in TASK_FIELDS}


def set_at(moment: str) -> tuple[TaskField, ...]:
    """Return the fields that a caller may set on an occasion (`CREATE`, `EDIT`, …)."""
    return tuple(field for field in TASK_FIELDS if moment in field.set_at)
