"""The MCP server: tools for agents over stdio, with the rights of the caller.

The server is a client of the API like every other command and imports no app. Only `hopper mcp`
loads this module, because the SDK (the extra `mcp`) takes longer to load than all the rest.
"""

from __future__ import annotations

import inspect
from difflib import get_close_matches
from functools import wraps
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeVar

from mcp.server.mcpserver import MCPServer
from mcp.server.mcpserver.exceptions import ToolError
from mcp.server.mcpserver.tools import Tool
from mcp_types import ToolAnnotations
from pydantic import Field, WithJsonSchema

from hopper import __version__
from hopper.cli.transport import Client, CliError, at, clean
from hopper.task_fields import BY_NAME, CHILD, CREATE, TERMS, TaskField, set_at

if TYPE_CHECKING:
    from collections.abc import Callable

INSTRUCTIONS = """Hopper is a tree of queues. To work: `claim_task` at an instance gives a task \
with a lease; its `lease.token` goes into every later call about it. Send `heartbeat` before \
`lease.expires_at`, with a checkpoint from which another could go on. End with `complete_task`, \
`fail_task`, `release_task` (somebody else should), `ask_question` (a person must answer; the next \
claim has the answer) or `escalate_task` (the level above must decide). An answer `lease_lost` \
means that the task is no longer yours: stop working on it. `why_task` says \
what any task waits for and who can move it."""

BRIEF = ("id", "title", "status", "priority", "instance_id", "project", "tags", "waiting_on")

_TYPES: dict[str, Any] = {"words": list[str], "whole": int, "object": dict[str, Any]}
"""The Python types of the kinds of fields; the other kinds are texts."""


def _children_schema() -> dict[str, Any]:
    """Return the JSON Schema of the children that one call makes."""
    listed = [field for field in set_at(CHILD) if field.for_agents]
    child = {
        "type": "object",
        "properties": {field.name: field.json_schema() for field in listed},
        "required": [field.name for field in listed if field.required],
    }
    words = "The children; `depends_on` names siblings by their `key` and other tasks by id."
    return {"type": "array", "items": child, "minItems": 1, "maxItems": 1000, "description": words}


def _named(name: str, words: str) -> Any:
    """Return the description of a parameter that takes the values of a field of a task."""
    return WithJsonSchema({**BY_NAME[name].json_schema(), "description": words})


Json = dict[str, Any]
_Tool = TypeVar("_Tool", bound="Callable[..., Any]")
Children = Annotated[list[Json], WithJsonSchema(_children_schema())]
Status = Literal["pending", "claimed", "in_progress", "blocked", "done", "failed", "cancelled"]
InstanceId = Annotated[
    str, Field(description="The id of an instance (queue).", examples=["hopper-global"])
]
TaskId = Annotated[str, Field(description="The id of a task.", examples=["task-0199c2b4"])]
Token = Annotated[str, Field(description="`lease.token` of your claim.", examples=["1.k3Jv0Qa"])]
MaybeToken = Annotated[
    str | None, Field(description="`lease.token` of your claim, where a worker holds the task.")
]


def with_fields(moment: str) -> Callable[[_Tool], _Tool]:
    """Return a decorator: the tool's `**fields` become one parameter per field of the list."""

    def decorated(tool: _Tool) -> _Tool:
        signature = inspect.signature(tool, eval_str=True)
        own = [one for one in signature.parameters.values() if one.kind is not one.VAR_KEYWORD]
        listed = [_parameter(field) for field in set_at(moment) if field.for_agents]
        tool.__signature__ = signature.replace(parameters=[*own, *listed])  # type: ignore[attr-defined]
        return tool

    return decorated


def _parameter(field: TaskField) -> inspect.Parameter:
    """Return the parameter of a tool for a field; the server checks the bounds of its values."""
    return inspect.Parameter(
        field.name,
        inspect.Parameter.KEYWORD_ONLY,
        default=inspect.Parameter.empty if field.required else None,
        annotation=Annotated[_TYPES.get(field.kind, str), WithJsonSchema(field.json_schema())],
    )


class Tools:
    """The tools; an agent reads the docstring of each and the descriptions of its parameters."""

    def __init__(self, client: Client) -> None:
        self._client = client

    def show_tree(self) -> list[Json]:
        """List the instances (queues) you may see: id, scope, status, parent, open tasks."""
        names = ("id", "name", "scope", "effective_status", "parent_id")
        return [
            {**{name: row[name] for name in names}, "open_tasks": row["task_counts"]["open"]}
            for row in self._client.pages(at("instances"))
        ]

    def list_tasks(
        self,
        instance_id: Annotated[str | None, _named("instance_id", "Only what it holds.")] = None,
        status: Annotated[Status | None, Field(description="Only this status.")] = None,
        project: Annotated[str | None, _named("project", "Only tasks of this project.")] = None,
        tags: Annotated[list[str] | None, _named("tags", "Only tasks with all these.")] = None,
        search: Annotated[
            str | None, Field(description="Only tasks with this text in title or description.")
        ] = None,
        ready: Annotated[
            bool | None, Field(description="true: only what a worker could claim now.")
        ] = None,
        limit: Annotated[int, Field(description="The most tasks to list.", examples=[20])] = 20,
    ) -> list[Json]:
        """List tasks in brief, the newest first."""
        params = {
            "instance_id": instance_id,
            "status": status,
            "project": project,
            "all_tags": tags,
            "search": search,
            "ready": ready,
        }
        rows = self._client.pages(at("tasks"), params, limit=max(1, limit))
        return [{name: row[name] for name in BRIEF} for row in rows]

    def get_task(self, task_id: TaskId) -> Json:
        """Show a task whole, with its description, its result and its reason for waiting."""
        return self._get("tasks", task_id)

    def why_task(self, task_id: TaskId) -> Json:
        """Show the reason why a task waits, and the person or part that can move it."""
        return self._get("tasks", task_id, "why")

    def attention(
        self,
        mine: Annotated[bool | None, Field(description="true: only what you may move.")] = None,
    ) -> Json:
        """List what waits for a person: open questions, triage, hand work, dead letters.

        Grouped by who can move it; each task has its `next` command and request.
        """
        answer: Json = self._client.get(at("attention"), {"mine": mine})
        return answer

    def trace_task(self, task_id: TaskId) -> Json:
        """Show the delegations of a task in order, with their reasons."""
        chain = self._get("tasks", task_id, "delegations")
        return {**chain, "decisions": self._client.pages(at("tasks", task_id, "decisions"))}

    @with_fields(CREATE)
    def add_task(self, **fields: Any) -> Json:
        """Create a task; it is routed at once, as far as it goes.

        With a `unique_key` of yours a repeated call returns the task that is still open.
        """
        return self._post(fields, "tasks")

    def claim_task(
        self,
        instance_id: InstanceId,
        worker: Annotated[str, Field(description="Your name.", examples=["agent-1"])],
        capabilities: Annotated[
            list[str] | None,
            _named("required_capabilities", "What you can do; only tasks that need no more."),
        ] = None,
        tags: Annotated[list[str] | None, _named("tags", "Only tasks with all these.")] = None,
        lease_seconds: Annotated[
            int | None,
            Field(description="How long the lease lasts.", ge=30, le=86_400, examples=[300]),
        ] = None,
    ) -> Json:
        """Take the next task of an instance under a lease (300 seconds by default).

        Returns `tasks` (none or one, with `lease.token`) and `waiting`, the reason for none.
        """
        body = {
            "worker": worker,
            "capabilities": capabilities,
            "tags": tags,
            "lease_seconds": lease_seconds,
        }
        return self._post(body, "instances", instance_id, "claim")

    def heartbeat(
        self,
        task_id: TaskId,
        token: Token,
        progress: Annotated[
            float | None, Field(description="The part that is done.", ge=0, le=1, examples=[0.5])
        ] = None,
        checkpoint: Annotated[
            Json | None,
            Field(description="From where another could go on.", examples=[{"step": 3}]),
        ] = None,
    ) -> Json:
        """Extend your lease. Report your progress, and a checkpoint for another worker."""
        return self._work(task_id, "heartbeat", token, progress=progress, checkpoint=checkpoint)

    def complete_task(
        self,
        task_id: TaskId,
        token: Token,
        result: Annotated[
            Any, Field(description="Any JSON value.", examples=[{"pull_request": 7}])
        ] = None,
    ) -> Json:
        """Report a task as done, with its result. Repeating is harmless."""
        return self._work(task_id, "complete", token, result=result)

    def fail_task(
        self,
        task_id: TaskId,
        token: Token,
        error: Annotated[str, Field(description="What went wrong.", max_length=100_000)],
        retryable: Annotated[
            bool, Field(description="Whether another attempt could succeed.")
        ] = True,
    ) -> Json:
        """Report that a task failed, and whether another attempt could succeed."""
        return self._work(task_id, "fail", token, error=error, retryable=retryable)

    def release_task(self, task_id: TaskId, token: Token) -> Json:
        """Give a task back undone, for another worker."""
        return self._work(task_id, "release", token)

    def ask_question(
        self,
        task_id: TaskId,
        question: Annotated[str, Field(description="What you ask a person.", max_length=10_000)],
        choices: Annotated[
            list[str] | None,
            Field(description="The answers to choose from.", examples=[["MIT", "Apache-2.0"]]),
        ] = None,
        default: Annotated[
            str | None, Field(description="The answer if nobody answers in time.")
        ] = None,
        timeout_seconds: Annotated[
            int | None, Field(description="How long to wait for an answer.", ge=1, examples=[3600])
        ] = None,
        token: MaybeToken = None,
    ) -> Json:
        """Ask a person about your task: your lease ends and the task waits for the answer.

        The next claim of the task has the answer in `questions`, and your last checkpoint. Send a
        heartbeat with a checkpoint first. Repeating the same question is harmless.
        """
        asked = {"question": question, "choices": choices, "default": default}
        return self._work(task_id, "ask", token, timeout_seconds=timeout_seconds, **asked)

    def answer_question(
        self,
        task_id: TaskId,
        question_id: Annotated[str, Field(description="`id` of the open question.")],
        answer: Annotated[str, Field(description="One of its choices, if any.", max_length=10_000)],
    ) -> Json:
        """Answer a question about a task; the task goes on where it was asked."""
        body = {"question_id": question_id, "answer": answer}
        return self._post(body, "tasks", task_id, "answer")

    def escalate_task(
        self,
        task_id: TaskId,
        reason: Annotated[str, Field(description="The question to be decided.", max_length=10_000)],
        token: MaybeToken = None,
    ) -> Json:
        """Escalate a task to the instance that it came from, with a question to be decided."""
        return self._work(task_id, "escalate", token, reason=reason)

    def delegate_task(
        self,
        task_id: TaskId,
        target_instance_id: InstanceId,
        notes: Annotated[str, Field(description="A word for the target.", max_length=100_000)] = "",
    ) -> Json:
        """Hand a task down to a child of the instance that holds it; the target answers at once."""
        body = {"target_instance_id": target_instance_id, "notes": notes, "accept": "auto"}
        return self._post(body, "tasks", task_id, "delegate")

    @with_fields(TERMS)
    def decompose_task(
        self, task_id: TaskId, children: Children, token: MaybeToken = None, **terms: Any
    ) -> list[Json]:
        """Make all children of your task in one call; your lease ends, the task waits for them.

        A `key` of yours makes repeating the call harmless; `instance_id` is a child instance to
        send the child to. With completion `resume` the task comes back to be finished by hand.
        """
        body = clean({"children": children, "token": token, **terms})
        made: list[Json] = self._client.post(at("tasks", task_id, "decompose"), body)
        return made

    def _work(self, task_id: str, verb: str, token: str | None, **fields: Any) -> Json:
        return self._post({"token": token, **fields}, "tasks", task_id, verb)

    def _get(self, *parts: str) -> Json:
        answer: Json = self._client.get(at(*parts))
        return answer

    def _post(self, fields: Json, *parts: str) -> Json:
        answer: Json = self._client.post(at(*parts), clean(fields))
        return answer


READING = ("show_tree", "list_tasks", "get_task", "why_task", "trace_task", "attention")
WRITING = (
    "add_task",
    "claim_task",
    "heartbeat",
    "complete_task",
    "fail_task",
    "release_task",
    "ask_question",
    "answer_question",
    "escalate_task",
    "delegate_task",
    "decompose_task",
)


class StrictTool(Tool):
    """A tool that refuses unknown arguments. null counts as a missing argument."""

    async def run(self, arguments: Json, *args: Any, **options: Any) -> Any:
        """Return the answer of the tool. Raises ToolError with the known arguments."""
        known = self.parameters["properties"]
        for name in arguments.keys() - known.keys():
            close = get_close_matches(name, known, 1)
            hint = f" Did you mean {close[0]}?" if close else ""
            raise ToolError(
                f"{self.name} has no argument {name}.{hint} Known: {', '.join(sorted(known))}."
            )
        given = clean(arguments)
        return await super().run(given, *args, **options)


def build_server(client: Client) -> MCPServer[Any]:
    """Return the server with its tools on a client of the API."""
    tools = Tools(client)
    made: list[Tool] = []
    for name in (*READING, *WRITING):
        hints = ToolAnnotations(read_only_hint=name in READING, open_world_hint=False)
        tool = StrictTool.from_function(_told(getattr(tools, name)), annotations=hints)
        tool.parameters["additionalProperties"] = False
        for parameter in tool.parameters["properties"].values():
            # The title repeats the name, and the default null says nothing.
            del parameter["title"]
            if parameter.get("default", "") is None:
                del parameter["default"]
        made.append(tool)
    return MCPServer(
        "hopper",
        instructions=INSTRUCTIONS,
        version=__version__,
        log_level="WARNING",
        tools=made,
    )


def serve(client: Client) -> None:
    """Speak MCP on stdin and stdout until stdin ends."""
    build_server(client).run("stdio")


def _told(tool: Callable[..., Any]) -> Callable[..., Any]:
    """Return a tool that reports refusals to the agent, field by field."""

    @wraps(tool)
    def carry_out(*args: Any, **kwargs: Any) -> Any:
        try:
            return tool(*args, **kwargs)
        except CliError as error:
            raise ToolError("\n".join(error.lines())) from error

    # `wraps` copies the signature of a method as it is, with its `self`.
    carry_out.__signature__ = inspect.signature(tool, eval_str=True)  # type: ignore[attr-defined]
    return carry_out
