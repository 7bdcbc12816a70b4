"""The resources and prompts of the server: what an agent may read and be told without a tool."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial
from http import HTTPStatus
from typing import Any, TypeVar

from mcp.server.mcpserver import MCPServer
from mcp.server.mcpserver.exceptions import ResourceError, ResourceNotFoundError

from hopper.cli.mcp.answers import without_empty
from hopper.cli.mcp.reading import Reading
from hopper.cli.mcp.working import Working
from hopper.cli.transport import CliError, Refused

_Found = TypeVar("_Found")
JSON = "application/json"


def add_resources(server: MCPServer[Any], reading: Reading, working: Working) -> None:
    """Add the resources: the briefing, the tree, queues, tasks, and the attention list."""

    @server.resource("hopper://prime", mime_type="text/markdown")
    def prime() -> str:
        """The tasks that you hold, their progress, and your next step."""
        return _found(working.brief)

    @server.resource("hopper://tree", mime_type=JSON)
    def tree() -> str:
        """The instances (queues) with their open tasks."""
        return _as_text(reading.show_tree)

    @server.resource("hopper://attention", mime_type=JSON)
    def attention() -> str:
        """The tasks that wait for a person, each with its next step."""
        return _as_text(reading.attention)

    @server.resource("hopper://instances/{instance_id}/queue", mime_type=JSON)
    def queue(instance_id: str) -> str:
        """The open tasks that an instance holds, in brief."""
        return _as_text(partial(reading.queue, instance_id))

    @server.resource("hopper://tasks/{task_id}", mime_type=JSON)
    def task(task_id: str) -> str:
        """A task whole."""
        return _as_text(partial(reading.get_task, task_id))


def add_prompts(server: MCPServer[Any]) -> None:
    """Add the prompts: triage, decompose, hand over."""

    @server.prompt()
    def triage() -> str:
        """Look through everything that waits for a person, and propose what to do."""
        return (
            "Call `attention`. For each task read it with `get_task` and its reason with "
            "`why_task`. Propose one step for each: answer the question (`answer_question`), send "
            "it to a project (`delegate_task`; `preview_route` says where it would go), try it "
            "again (`retry_task`) or give it up (`cancel_task`). Show me the list with your "
            "reasons and wait for my word before you change anything."
        )

    @server.prompt()
    def decompose(task_id: str) -> str:
        """Split a task into children that workers can do one by one."""
        return (
            f"Read {task_id} with `get_task` and its lessons with `list_lessons`. "
            "Split it into two to eight children: each with a title, a brief that a worker "
            "understands without you, a `key`, and `depends_on` where one needs the result of "
            f"another. Show me the plan. When I agree, claim it (`claim_task` with task_id "
            f"{task_id}) and call `decompose_task` once with all children."
        )

    @server.prompt()
    def hand_over(task_id: str) -> str:
        """End your work on a task so that another worker can go on."""
        return (
            f"Store where you got to on {task_id}: `heartbeat` with a checkpoint that names the "
            "finished steps, the files you changed, the next step and what you learned. If a "
            "person has to decide something, use `ask_question`; else give the task back with "
            "`release_task` and the reason. Write what helps later tasks with `add_lesson`."
        )


def _as_text(read: Callable[[], Any]) -> str:
    return json.dumps(without_empty(_found(read)), ensure_ascii=False)


def _found(read: Callable[[], _Found]) -> _Found:
    """Return what a resource shows. Raises ResourceError, in the words of the refusal."""
    try:
        return read()
    except CliError as error:
        missing = isinstance(error, Refused) and error.status == HTTPStatus.NOT_FOUND
        kind = ResourceNotFoundError if missing else ResourceError
        raise kind("\n".join(error.lines())) from error
