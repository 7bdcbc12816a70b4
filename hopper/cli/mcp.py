"""The MCP server: Hopper's verbs as tools for agents, over stdio, with the rights of the caller.

A client of the API like every other command; it imports no app. Loaded by `hopper mcp` alone,
because the SDK (the extra `mcp`) takes longer to load than all the rest.
"""

from __future__ import annotations

from functools import wraps
from typing import TYPE_CHECKING, Any, Literal

from mcp.server.mcpserver import MCPServer
from mcp.server.mcpserver.exceptions import ToolError
from mcp_types import ToolAnnotations

from hopper import __version__
from hopper.cli.transport import Client, CliError, at, clean

if TYPE_CHECKING:
    from collections.abc import Callable

Json = dict[str, Any]
FailurePolicy = Literal["wait_all", "fail_fast", "best_effort", "resume"]
Priority = Literal["low", "medium", "high", "urgent"]
Status = Literal["pending", "claimed", "in_progress", "blocked", "done", "failed", "cancelled"]

INSTRUCTIONS = """Hopper is a tree of queues. To work: `claim_task` at an instance gives a task \
with a lease; its `lease.token` goes into every later call about it. Send `heartbeat` before \
`lease.expires_at`, with a checkpoint from which another could go on. End with `complete_task`, \
`fail_task`, `release_task` (somebody else should) or `escalate_task` (a person must decide). An \
answer `lease_lost` means that the task is no longer yours: stop working on it. `why_task` says \
what any task waits for and who can move it."""

BRIEF = ("id", "title", "status", "priority", "instance_id", "project", "tags", "waiting_on")


class Tools:
    """The tools; the docstring of each is what an agent reads about it."""

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
        instance_id: str | None = None,
        status: Status | None = None,
        project: str | None = None,
        tags: list[str] | None = None,
        search: str | None = None,
        ready: bool | None = None,
        limit: int = 20,
    ) -> list[Json]:
        """List tasks in brief; `tags` must all match; `ready` are those a worker could claim."""
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

    def get_task(self, task_id: str) -> Json:
        """Show a task whole, with its description, result and what it waits for."""
        return self._get("tasks", task_id)

    def why_task(self, task_id: str) -> Json:
        """Say the one reason why a task is not done yet, and who can move it."""
        return self._get("tasks", task_id, "why")

    def trace_task(self, task_id: str) -> Json:
        """Show the way of a task: its hand-overs in order, and why it went there."""
        chain = self._get("tasks", task_id, "delegations")
        return {**chain, "decisions": self._client.pages(at("tasks", task_id, "decisions"))}

    def add_task(
        self,
        title: str,
        description: str | None = None,
        instance_id: str | None = None,
        project: str | None = None,
        tags: list[str] | None = None,
        priority: Priority | None = None,
        complexity: int | None = None,
        required_capabilities: list[str] | None = None,
        depends_on: list[str] | None = None,
        parent_id: str | None = None,
        unique_key: str | None = None,
    ) -> Json:
        """Create a task; it is routed at once, as far as it goes.

        `instance_id` is where it enters (the GLOBAL instance, to be routed). `complexity` is 1 to
        5. With a `unique_key` of yours a repeated call returns the task that is still open.
        """
        fields = {
            "title": title,
            "description": description,
            "instance_id": instance_id,
            "project": project,
            "tags": tags,
            "priority": priority,
            "complexity": complexity,
            "required_capabilities": required_capabilities,
            "depends_on": depends_on,
            "parent_id": parent_id,
            "unique_key": unique_key,
        }
        return self._post(fields, "tasks")

    def claim_task(
        self,
        instance_id: str,
        worker: str,
        capabilities: list[str] | None = None,
        tags: list[str] | None = None,
        lease_seconds: int | None = None,
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
        task_id: str,
        token: str,
        progress: float | None = None,
        checkpoint: Json | None = None,
    ) -> Json:
        """Extend your lease; say how far you are (0 to 1) and from where another could go on."""
        return self._work(task_id, "heartbeat", token, progress=progress, checkpoint=checkpoint)

    def complete_task(self, task_id: str, token: str, result: Any = None) -> Json:
        """Report a task as done, with its result (any JSON). Repeating is harmless."""
        return self._work(task_id, "complete", token, result=result)

    def fail_task(self, task_id: str, token: str, error: str, retryable: bool = True) -> Json:
        """Report that a task failed, and whether another attempt could succeed."""
        return self._work(task_id, "fail", token, error=error, retryable=retryable)

    def release_task(self, task_id: str, token: str) -> Json:
        """Give a task back undone, for another worker."""
        return self._work(task_id, "release", token)

    def escalate_task(self, task_id: str, reason: str, token: str | None = None) -> Json:
        """Hand a task up to whoever gave it, with the question that must be decided."""
        return self._work(task_id, "escalate", token, reason=reason)

    def delegate_task(self, task_id: str, target_instance_id: str, notes: str = "") -> Json:
        """Hand a task down to a child of the instance that holds it; the target answers at once."""
        body = {"target_instance_id": target_instance_id, "notes": notes, "accept": "auto"}
        return self._post(body, "tasks", task_id, "delegate")

    def decompose_task(
        self,
        task_id: str,
        children: list[Json],
        token: str | None = None,
        completion: Literal["auto", "resume"] | None = None,
        failure_policy: FailurePolicy | None = None,
        quorum: int | None = None,
    ) -> list[Json]:
        """Make all children of your task in one call; your lease ends, the task waits for them.

        A child has `title` and what add_task takes; a `key` of yours makes repeating the call
        harmless and is what its siblings name in `depends_on`; `instance_id` is a child instance
        to send it to. With completion `resume` the task comes back to be finished by hand.
        """
        body = {
            "children": children,
            "token": token,
            "completion": completion,
            "failure_policy": failure_policy,
            "quorum": quorum,
        }
        made: list[Json] = self._client.post(at("tasks", task_id, "decompose"), clean(body))
        return made

    def _work(self, task_id: str, verb: str, token: str | None, **fields: Any) -> Json:
        return self._post({"token": token, **fields}, "tasks", task_id, verb)

    def _get(self, *parts: str) -> Json:
        answer: Json = self._client.get(at(*parts))
        return answer

    def _post(self, fields: Json, *parts: str) -> Json:
        answer: Json = self._client.post(at(*parts), clean(fields))
        return answer


READING = ("show_tree", "list_tasks", "get_task", "why_task", "trace_task")
WRITING = (
    "add_task",
    "claim_task",
    "heartbeat",
    "complete_task",
    "fail_task",
    "release_task",
    "escalate_task",
    "delegate_task",
    "decompose_task",
)


def build_server(client: Client) -> MCPServer[Any]:
    """Return the server with its tools on a client of the API."""
    server: MCPServer[Any] = MCPServer(
        "hopper", instructions=INSTRUCTIONS, version=__version__, log_level="WARNING"
    )
    tools = Tools(client)
    for name in (*READING, *WRITING):
        hints = ToolAnnotations(read_only_hint=name in READING, open_world_hint=False)
        server.add_tool(_told(getattr(tools, name)), annotations=hints)
    return server


def serve(client: Client) -> None:
    """Speak MCP on stdin and stdout until stdin ends."""
    build_server(client).run("stdio")


def _told(tool: Callable[..., Any]) -> Callable[..., Any]:
    """Return a tool whose refusals are told to the agent, field by field."""

    @wraps(tool)
    def carry_out(*args: Any, **kwargs: Any) -> Any:
        try:
            return tool(*args, **kwargs)
        except CliError as error:
            raise ToolError("\n".join(error.lines())) from error

    return carry_out
