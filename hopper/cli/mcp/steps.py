"""The next step of a task as a call of a tool; the server names commands and requests."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hopper.cli.mcp.parameters import Json

_REQUEST = re.compile(r"[A-Z]+ /(?P<kind>\w+)/(?P<id>[^/?]+)(?:/(?P<verb>\w+))?")
_TOOLS = {
    ("tasks", None): "update_task",
    ("tasks", "answer"): "answer_question",
    ("tasks", "claim"): "claim_task",
    ("tasks", "complete"): "complete_task",
    ("tasks", "delegate"): "delegate_task",
    ("tasks", "retry"): "retry_task",
    ("tasks", "status"): "set_status",
    ("tasks", "why"): "why_task",
    ("delegations", "accept"): "accept_delegation",
    ("instances", "claim"): "claim_task",
}
_IDS = {"tasks": "task_id", "delegations": "delegation_id", "instances": "instance_id"}


def as_call(step: Json) -> Json:
    """Return a step {command, request} as {tool, arguments}, or the command for a person.

    The other arguments of the tool are the caller's decision.
    """
    found = _REQUEST.fullmatch(step["request"])
    tool = _TOOLS.get((found["kind"], found["verb"])) if found else None
    if found is None or tool is None:
        return {"command": step["command"]}
    return {"tool": tool, "arguments": {_IDS[found["kind"]]: found["id"]}}


def is_step(value: Any) -> bool:
    """Return whether a value of an answer is the next step of a task."""
    return isinstance(value, dict) and value.keys() == {"command", "request"}
