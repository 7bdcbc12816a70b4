"""The answers of the tools: each fact once, empty fields left out, and the next step of a refusal.

An answer is structured content with a short line of text. A client that shows the text alone gets
the whole answer there instead, as JSON.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from typing import Any

from mcp_types import CallToolResult, TextContent

from hopper.cli.mcp.parameters import Json
from hopper.cli.transport import CliError, Refused

_BRIEF = ("id", "title", "status", "priority", "instance_id", "project", "tags", "waiting_on")
_LONG_TEXT = 500
_WITH_LISTS = frozenset({"tasks", "groups", "result"})
"""The fields that stay although they are empty: an empty list is the answer."""

_NEXT = {
    "lease_lost": "Stop working on this task. claim_task gives other work.",
    "token_required": "Another worker holds this task. claim_task gives other work.",
    "already_ended": "Nothing is left to do on this task.",
    "not_found": "list_tasks finds tasks, show_tree finds instances.",
    "does_not_execute": "show_tree lists the instances; claim where work is executed.",
    "not_claimable": "why_task says what the task waits for.",
    "at_capacity": "Try again when a lease there ends.",
    "open_question": "list_questions shows it; answer_question answers it.",
    "open_children": "list_children shows them.",
    "name_taken": "Choose another name.",
    "invalid_transition": "get_task shows the state; the allowed ones are named above.",
}
_NEXT_BY_STATUS = {
    400: "Correct the named argument and call again.",
    401: "The person who started `hopper mcp` has to give it a valid token.",
    403: "Ask a person with that role, or use ask_question.",
    404: _NEXT["not_found"],
    409: "get_task shows the present state of the task.",
    410: _NEXT["lease_lost"],
    422: "Choose another of the allowed values.",
    429: "Wait, then call again.",
    503: "Wait, then call again.",
}

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


def without_empty(data: Any) -> Any:
    """Return an answer without its empty fields; the JSON of users is left as it is."""
    if isinstance(data, list):
        return [without_empty(row) for row in data]
    if not isinstance(data, dict):
        return data
    return {
        name: value
        for name, value in data.items()
        if name in _WITH_LISTS or value not in (None, "", [], {})
    }


def with_calls(data: Any) -> Any:
    """Return the reasons of tasks with each next step as a call of a tool."""
    if isinstance(data, list):
        return [with_calls(row) for row in data]
    if not isinstance(data, dict):
        return data
    return {
        name: _as_call(value) if name == "next" and _is_step(value) else with_calls(value)
        for name, value in data.items()
    }


def _as_call(step: Json) -> Json:
    """Return a step {command, request} as {tool, arguments}, or the command for a person.

    The server names commands and requests. The other arguments of the tool are the agent's choice.
    """
    found = _REQUEST.fullmatch(step["request"])
    tool = _TOOLS.get((found["kind"], found["verb"])) if found else None
    if found is None or tool is None:
        return {"command": step["command"]}
    return {"tool": tool, "arguments": {_IDS[found["kind"]]: found["id"]}}


def _is_step(value: Any) -> bool:
    """Return whether a value of an answer is the next step of a task."""
    return isinstance(value, dict) and value.keys() == {"command", "request"}


def in_brief(task: Json) -> Json:
    """Return the few fields of a task that a list shows."""
    return {name: task[name] for name in _BRIEF if task.get(name) not in (None, "", [], {})}


def changed(task: Json) -> Json:
    """Return a task after a change: without a long description, which the caller knows."""
    long = len(task.get("description") or "") > _LONG_TEXT
    return {name: value for name, value in task.items() if name != "description" or not long}


def tool_result(data: Any, *, text_only: bool) -> CallToolResult:
    """Return what a tool found as the result of its call."""
    data = without_empty(data)
    content = {"result": data} if isinstance(data, list) else data
    if text_only:
        return _result(json.dumps(content, ensure_ascii=False))
    return _result(line_of(data), content)


def line_of(data: Any) -> str:
    """Return an answer in one line, for a person who looks on."""
    if isinstance(data, list):
        return f"{len(data)} found." if data else "Nothing found."
    if "summary" in data:
        return str(data["summary"])
    if "title" in data and "status" in data:
        return _line_of_task(data)
    if "tasks" in data:
        rows = data["tasks"]
        return _line_of_task(rows[0]) if rows else str(data.get("waiting", {}).get("detail", ""))
    return str(data.get("words") or data.get("status") or "Done.")


def _line_of_task(task: Json) -> str:
    place = f" at {task['instance_id']}" if task.get("instance_id") else ""
    reason = task.get("waiting_on") or {}
    detail = f": {reason['code']}" if reason.get("code") else ""
    return f"{task['id']} ({task['title']}) is {task['status']}{place}{detail}."


def refused(error: CliError) -> CallToolResult:
    """Return a refusal in words: the field or state, what is allowed, and the next step."""
    lines = list(error.lines())
    if isinstance(error, Refused):
        step = _NEXT.get(error.code) or _NEXT_BY_STATUS.get(error.status)
        lines += [f"Next: {step}"] if step else []
    return failed(lines)


def failed(lines: Iterable[str]) -> CallToolResult:
    """Return an error that the agent reads."""
    return _result("\n".join(lines), is_error=True)


def _result(text: str, content: Json | None = None, *, is_error: bool = False) -> CallToolResult:
    blocks: list[Any] = [TextContent(type="text", text=text)]
    return CallToolResult(content=blocks, structured_content=content, is_error=is_error)
