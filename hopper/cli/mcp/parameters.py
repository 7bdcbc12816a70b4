"""The parameters of the tools: types, bounds, descriptions and examples, from the field list."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Annotated, Any, Literal, TypeVar

from pydantic import Field, WithJsonSchema

from hopper.cli.waiting import LONGEST_WAIT
from hopper.protocol import PRIORITIES
from hopper.task_fields import BY_NAME, CHILD, CREATE, TaskField, set_at

Json = dict[str, Any]
_Tool = TypeVar("_Tool", bound="Callable[..., Any]")

_TYPES: dict[str, Any] = {"words": list[str], "whole": int, "object": dict[str, Any]}
"""The Python types of the kinds of fields; the other kinds are texts."""


def _tasks_schema(moment: str, most: int, words: str) -> Json:
    """Return the JSON Schema of a list of tasks; add_task describes and bounds most fields."""
    listed = [field for field in set_at(moment) if field.for_agents]
    shapes = {field.name: field.json_schema() for field in listed}
    for field in listed:
        if CREATE in field.set_at:
            shapes[field.name] = _only_type(shapes[field.name])
    task = {
        "type": "object",
        "properties": shapes,
        "required": [field.name for field in listed if field.required],
    }
    return {
        "type": "array", "items": task, "minItems": 1, "maxItems": most, "description": words,
        "examples": [[{"title": "Write the API"}, {"title": "Write its tests"}]],
    }  # fmt: skip


def _only_type(schema: Json) -> Json:
    """Return type, enum and format of a JSON Schema. Some clients need the type of the items."""
    kept = {key: value for key, value in schema.items() if key in {"type", "enum", "format"}}
    return {**kept, "items": _only_type(schema["items"])} if "items" in schema else kept


def named(name: str, words: str) -> Any:
    """Return the description of a parameter that takes the values of a field of a task."""
    return WithJsonSchema({**BY_NAME[name].json_schema(), "description": words})


def text(words: str, most: int, **more: Any) -> Any:
    """Return the description of a parameter that takes a text."""
    return Field(description=words, max_length=most, **more)


def seconds_to_wait(words: str) -> Any:
    """Return the description of a parameter that takes the seconds to wait, 0 for none."""
    return Field(description=f"{words} 0: not at all.", ge=0, le=LONGEST_WAIT, examples=[60])


_CHILDREN = (
    "The children; add_task describes their fields. `depends_on` names siblings by their `key`, "
    "other tasks by their id."
)
_TASKS = "The tasks to create; their fields are those of add_task."

Children = Annotated[list[Json], WithJsonSchema(_tasks_schema(CHILD, 1000, _CHILDREN))]
NewTasks = Annotated[list[Json], WithJsonSchema(_tasks_schema(CREATE, 1000, _TASKS))]
Status = Literal["pending", "claimed", "in_progress", "blocked", "done", "failed", "cancelled"]
ByHand = Literal["pending", "in_progress", "blocked", "done", "cancelled"]
# The type checker cannot read the words of a constant; pydantic does.
Priority = Literal[PRIORITIES]  # type: ignore[valid-type]
TASK, PLACE = "task-0199c2b4", "hopper-global"


def id_of_task(words: str) -> Any:
    """Return the description of a parameter that takes the id of a task."""
    return text(words, 64, examples=[TASK])


def id_of_instance(words: str) -> Any:
    """Return the description of a parameter that takes the id of an instance."""
    return text(words, 100, examples=[PLACE])


InstanceId = Annotated[str, id_of_instance("The id of an instance (queue).")]
TaskId = Annotated[str, id_of_task("The id of a task.")]
DelegationId = Annotated[
    str, text("The id of a delegation; trace_task lists them.", 64, examples=["del-0199c2b4"])
]
Token = Annotated[
    str | None,
    text("Only for a task claimed in another session: its `lease.token`.", 64, examples=["1.x4Fz"]),
]
Worker = Annotated[
    str | None,
    text("Your name. Default: one of this session.", 200, examples=["agent-1"]),
]
LeaseSeconds = Annotated[
    int | None,
    Field(
        description="How long the lease outlives a session that is cut off. Default: 300.",
        ge=30,
        le=86_400,
        examples=[300],
    ),
]
Choices = Annotated[
    list[str] | None,
    Field(
        description="The answers to choose from; without them any text.",
        max_length=20,
        examples=[["MIT", "Apache-2.0"]],
    ),
]
DefaultAnswer = Annotated[
    str | None, text("The answer if nobody answers in time.", 10_000, examples=["MIT"])
]
Timeout = Annotated[
    int | None,
    Field(
        description="How long to wait for an answer. Without it: for ever.",
        ge=1,
        le=31_536_000,
        examples=[3600],
    ),
]
Limit = Annotated[int, Field(description="The most rows to list.", ge=1, le=500, examples=[20])]
Under = Annotated[
    str | None, id_of_instance("Only tasks held by this instance or by one below it in the tree.")
]


def with_fields(
    moment: str, *, may_be_left_out: bool = False, only: frozenset[str] | None = None
) -> Callable[[_Tool], _Tool]:
    """Return a decorator: the tool's `**fields` become one parameter per field of the list.

    `may_be_left_out`: none of them is required. `only`: no others than these.
    """

    def decorated(tool: _Tool) -> _Tool:
        signature = inspect.signature(tool, eval_str=True)
        own = [one for one in signature.parameters.values() if one.kind is not one.VAR_KEYWORD]
        listed = [
            _parameter(field, required=field.required and not may_be_left_out)
            for field in set_at(moment)
            if field.for_agents and (only is None or field.name in only)
        ]
        # `inspect` reads this attribute; the type of functions does not name it.
        tool.__signature__ = signature.replace(parameters=[*own, *listed])  # type: ignore[attr-defined]
        return tool

    return decorated


def _parameter(field: TaskField, *, required: bool) -> inspect.Parameter:
    """Return the parameter of a tool for a field; the server checks the bounds of its values."""
    return inspect.Parameter(
        field.name,
        inspect.Parameter.KEYWORD_ONLY,
        default=inspect.Parameter.empty if required else None,
        annotation=Annotated[_TYPES.get(field.kind, str), WithJsonSchema(field.json_schema())],
    )
