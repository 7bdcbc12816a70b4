"""The server: its tools with their hints, and the session on standard input and output."""

from __future__ import annotations

import inspect
import logging
import os
import secrets
import signal
from collections.abc import Callable
from functools import partial, wraps
from typing import Any

import anyio
from mcp.server.mcpserver import MCPServer
from mcp.server.mcpserver.tools import Tool
from mcp_types import ToolAnnotations

from hopper import __version__
from hopper.cli.arguments import user_name
from hopper.cli.leases import SESSION_VARIABLES
from hopper.cli.mcp.messages import speak
from hopper.cli.mcp.planning import Planning
from hopper.cli.mcp.reading import Reading
from hopper.cli.mcp.refusals import without_secrets
from hopper.cli.mcp.resources import add_prompts, add_resources
from hopper.cli.mcp.session import SessionLeases
from hopper.cli.mcp.tool import HopperTool, Run, Way
from hopper.cli.mcp.working import Working
from hopper.cli.transport import Client
from hopper.cli.waiting import LONGEST_WAIT
from hopper.logs import TextFormatter

INSTRUCTIONS = """Hopper is a tree of queues (instances) that hold tasks; a delegation hands a \
task from one instance to the next. Call `resume_work` first. To work: `claim_task` at \
an instance gives you a task. It is yours while this session lasts, also during a long tool call; \
no heartbeat of yours is needed. After each finished step store a checkpoint with `heartbeat`: if \
you are stopped, the next worker goes on from there. End with `complete_task`, `fail_task`, \
`release_task` (another worker should), `ask_question` (a person must answer), `decompose_task` \
(children do it) or `escalate_task` (the level above must decide). An answer `lease_lost` means \
that the task is no longer yours: stop working on it. `why_task` says what any task waits for and \
who can move it."""

OVER_HTTP = """Hopper is a tree of queues (instances) that hold tasks. To work: `claim_task` at an \
instance gives you a task under a lease; extend it with `heartbeat` before `lease.expires_at`, and \
store a checkpoint after each finished step. End with `complete_task`, `fail_task`, \
`release_task`, `ask_question`, `decompose_task` or `escalate_task`. An answer `lease_lost` means \
that the task is no longer yours: stop working on it. `why_task` says what any task waits for."""

_OVER_HTTP = {
    "claim_task": """Take a task: give `instance_id` for its next one, or `task_id`.

Returns `tasks` (none or one) and `waiting`, the reason for none. The task is yours until \
`lease.expires_at`; heartbeat extends the lease. A task that was begun before has \
`lease.checkpoint` (go on from there) and answers in `questions`.""",
    "heartbeat": """Extend your lease, and report your progress or a checkpoint.

Do it before `lease.expires_at`, and after each finished step with a checkpoint from which \
another worker could go on.""",
}
"""The descriptions that differ where no session keeps the leases."""

READS, WRITES, REPEATABLE, ENDS = "reads", "writes", "repeatable", "ends"
_HINTS = {
    READS: ToolAnnotations(read_only_hint=True, open_world_hint=False),
    WRITES: ToolAnnotations(
        read_only_hint=False, destructive_hint=False, idempotent_hint=False, open_world_hint=False
    ),
    REPEATABLE: ToolAnnotations(
        read_only_hint=False, destructive_hint=False, idempotent_hint=True, open_world_hint=False
    ),
    ENDS: ToolAnnotations(
        read_only_hint=False, destructive_hint=True, idempotent_hint=True, open_world_hint=False
    ),
}
"""Hints for each kind of tool: whether a client may call it without asking its person."""

TOOLS = {
    "show_tree": READS,
    "list_tasks": READS,
    "list_children": READS,
    "get_task": READS,
    "why_task": READS,
    "trace_task": READS,
    "attention": READS,
    "list_questions": READS,
    "list_lessons": READS,
    "preview_route": READS,
    "add_task": WRITES,
    "add_tasks": WRITES,
    "update_task": REPEATABLE,
    "resume_work": WRITES,
    "claim_task": WRITES,
    "heartbeat": REPEATABLE,
    "complete_task": REPEATABLE,
    "fail_task": REPEATABLE,
    "release_task": REPEATABLE,
    "ask_question": REPEATABLE,
    "answer_question": REPEATABLE,
    "decompose_task": REPEATABLE,
    "escalate_task": WRITES,
    "delegate_task": REPEATABLE,
    "accept_delegation": REPEATABLE,
    "reject_delegation": REPEATABLE,
    "set_status": ENDS,
    "cancel_task": ENDS,
    "retry_task": REPEATABLE,
    "add_lesson": WRITES,
    "list_comments": READS,
    "comment_on_task": WRITES,
}
"""The tools in the order in which an agent reads them, with their kind."""


def build_server(
    client: Client,
    session: SessionLeases | None = None,
    *,
    text_only: bool = False,
    run: Run | None = None,
) -> MCPServer[Any]:
    """Return the server on a client of the API; `session` holds the leases of its agent.

    `text_only`: for clients that show their agent the text of an answer alone. `run`: for MCP over
    HTTP, where each request stands alone; it calls a tool in the thread of its request.
    """
    over_http = run is not None
    session = session or SessionLeases(client, session_worker())
    longest = 0 if over_http else LONGEST_WAIT
    reading = Reading(client, longest_wait=longest)
    working = Working(client, session, longest_wait=longest)
    parts = (reading, Planning(client), working)
    way = Way(text_only=text_only, run=run, during=session.call)
    made: list[Tool] = []
    for name, kind in TOOLS.items():
        function = next(found for part in parts if (found := getattr(part, name, None)))
        words = (_OVER_HTTP.get(name) if over_http else None) or inspect.getdoc(function) or ""
        made.append(HopperTool.made(_free(function), words, _HINTS[kind], way))
    server: MCPServer[Any] = MCPServer(
        "hopper",
        instructions=OVER_HTTP if over_http else INSTRUCTIONS,
        version=__version__,
        log_level="WARNING",
        tools=made,
        middleware=[without_secrets],
    )
    add_resources(server, reading, working)
    add_prompts(server)
    return server


def serve(client: Client, worker: str | None = None, *, text_only: bool = False) -> None:
    """Speak MCP on stdin and stdout until stdin ends; then give the session's leases back."""
    # The SDK wraps the lines of tracebacks: a secret cut in two would not be masked.
    handler = logging.StreamHandler()
    handler.setFormatter(TextFormatter("%(asctime)s %(levelname)s %(name)s %(message)s"))
    logging.basicConfig(level=logging.WARNING, handlers=[handler])
    session = SessionLeases(client, worker or session_worker())
    session.start()

    def leave(number: int, frame: object) -> None:
        # A thread may still wait for stdin, so the process would not end by itself.
        session.end()
        os._exit(128 + number)

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, leave)
    try:
        server = build_server(client, session, text_only=text_only)
        anyio.run(speak, server, partial(session.end, patience=0))
    finally:
        session.end()


def session_worker() -> str:
    """Return a name for a worker that no other session has; an agent's session keeps its name."""
    session = next((os.environ[name] for name in SESSION_VARIABLES if os.environ.get(name)), "")
    return f"{user_name()}-{session[:40] or secrets.token_hex(3)}"


def _free(method: Callable[..., Any]) -> Callable[..., Any]:
    """Return a tool as a function of its own, with the parameters that the field list gave it."""

    @wraps(method)
    def tool(*args: Any, **kwargs: Any) -> Any:
        return method(*args, **kwargs)

    # `wraps` copies the signature of a method as it is, with its `self`. `inspect` reads this
    # attribute; the type of functions does not name it.
    tool.__signature__ = inspect.signature(method, eval_str=True)  # type: ignore[attr-defined]
    return tool
