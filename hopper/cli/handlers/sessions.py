"""`hopper prime`, `resume` and `hook`: an agent's session, from its start to its end."""

from __future__ import annotations

import json
import os
import select
import sys
import time
from argparse import Namespace
from contextlib import suppress
from pathlib import Path
from typing import Any

from hopper.cli import briefing
from hopper.cli.arguments import Group, HopperParser, bind, option, worker_name
from hopper.cli.leases import KeptLeases, session_name
from hopper.cli.render.screen import Screen
from hopper.cli.transport import Client, CliError, Refused, at
from hopper.cli.worker.answers import Meaning, of_report
from hopper.cli.worker.beat import ANSWER

ENVELOPES = ("claude", "codex", "gemini", "cursor", "copilot")
_SESSION_KEYS = ("session_id", "sessionId", "conversation_id")
_HOOK_SECONDS = 0.5  # how long a hook waits for its input


def prime_options(parser: HopperParser) -> None:
    """Make a parser the command `prime`."""
    words = "for the hook of this agent at the start of its session"
    hook = option("--hook", choices=ENVELOPES, help=words)
    bind(parser, prime, show_briefing, *BRIEFING, hook)


def resume_options(parser: HopperParser) -> None:
    """Make a parser the command `resume`."""
    task = option("id", nargs="?", help="this task; default: the one it held or asked about")
    bind(parser, resume, show_briefing, task, *BRIEFING)


BRIEFING = (
    option("--worker", metavar="NAME", help="whose work (else HOPPER_WORKER, else you)"),
    option("--tokens", type=int, default=briefing.TOKENS, metavar="N", help="the length at most"),
)


def hook_commands(parser: HopperParser) -> None:
    """Add the commands of `hook`."""
    add = Group(parser).add
    add("beat", beat, show_nothing, "extend the leases of this session, where due")
    add("end", end, show_nothing, "give the leases of this session back")


def prime(args: Namespace, client: Client) -> dict[str, Any]:
    """Return what the worker should know now."""
    event = _event() if args.hook else {}
    if args.hook:
        _name_session(event)
    worker = _worker(args)
    try:
        kept = KeptLeases.of(args, *_sessions(event))
        lost = _extend(kept, client, every=True)
        held = [lease.task_id for lease in kept.all()]
        text = briefing.briefing(client, worker, held, lost=lost, tokens=args.tokens)
    except CliError as error:
        if not args.hook:
            raise
        # An agent starts without Hopper as well.
        text = f"Hopper is out of reach: {error.message}"
    return {"worker": worker, "briefing": text}


def resume(args: Namespace, client: Client) -> dict[str, Any]:
    """Take up the task that a worker held or asked about, and return what it should know."""
    worker = _worker(args)
    task_id = args.id or _to_resume(client, worker)
    task = client.post(at("tasks", task_id, "claim"), {"worker": worker})
    KeptLeases.of(args).keep(task, worker)
    text = briefing.bounded([briefing.task_briefing(client, task_id)], args.tokens)
    return {"worker": worker, "task_id": task_id, "lease": task.get("lease"), "briefing": text}


def beat(args: Namespace, client: Client) -> None:
    """Extend the leases of this session that are due. A hook says nothing and never fails."""
    _extend(KeptLeases.of(args, *_sessions(_event())), client)


def _extend(kept: KeptLeases, client: Client, *, every: bool = False) -> list[str]:
    """Extend the kept leases that are due, or `every` one; return the tasks of those lost."""
    lost = []
    for lease in kept.all():
        if lease.is_due or every:
            body = {"worker": lease.worker, "token": lease.token}
            try:
                client.post(at("tasks", lease.task_id, "heartbeat"), body, key="", seconds=ANSWER)
            except CliError as error:
                if of_report(error) is Meaning.OVER:
                    kept.forget(lease.task_id)
                    lost.append(lease.task_id)
            else:
                kept.extended(lease.task_id)
    return lost


def end(args: Namespace, client: Client) -> None:
    """Give the leases of this session back. A hook says nothing and never fails."""
    kept = KeptLeases.of(args, *_sessions(_event()))
    for lease in kept.all():
        body = {"worker": lease.worker, "token": lease.token, "reason": "its session ended"}
        try:
            client.post(at("tasks", lease.task_id, "release"), body, key="", seconds=ANSWER)
        except CliError as error:
            if not isinstance(error, Refused):
                continue
        kept.forget(lease.task_id)


def show_briefing(data: dict[str, Any], args: Any, screen: Screen) -> None:
    """Show the briefing, as text or in the envelope of an agent's hook."""
    hook = getattr(args, "hook", None)
    text = data["briefing"]
    screen.line(json.dumps(_envelope(hook, text), ensure_ascii=False) if hook else text)


def show_nothing(data: None, args: Any, screen: Screen) -> None:
    """Show nothing: the output of a hook may end up before a person."""


def _envelope(agent: str, text: str) -> dict[str, Any]:
    """Return the JSON by which an agent takes context from the hook of its start."""
    if agent == "cursor":
        return {"additional_context": text}
    if agent == "copilot":
        return {"additionalContext": text}
    return {"hookSpecificOutput": {"hookEventName": "SessionStart", "additionalContext": text}}


def _worker(args: Namespace) -> str:
    return args.worker or worker_name()


def _to_resume(client: Client, worker: str) -> str:
    """Return the task that a worker held, else one it asked about that is answered."""
    held = client.pages(
        at("tasks"), {"worker": worker, "status": ["claimed", "in_progress"]}, limit=1
    )
    asked = client.pages(at("tasks"), {"asked_by": worker, "status": "pending"}, limit=1)
    for row in (*held, *asked):
        return str(row["id"])
    raise CliError(
        f"{worker} holds no task and has none whose question is answered.",
        hint=f"Take a new one: hopper task claim --instance ID --worker {worker}",
    )


def _event() -> dict[str, Any]:
    """Return the event that an agent gives its hook on standard input, if it does.

    An input that stays open without a whole event is waited for half a second.
    """
    if sys.stdin is None or sys.stdin.isatty():
        return {}
    text, until = b"", time.monotonic() + _HOOK_SECONDS
    try:
        number = sys.stdin.fileno()
        while (left := until - time.monotonic()) > 0:
            ready, _, _ = select.select([number], [], [], left)
            more = os.read(number, 1 << 20) if ready else b""
            text += more
            with suppress(ValueError):
                found = json.loads(text)
                return found if isinstance(found, dict) else {}
            if not more:
                break
    except (OSError, ValueError):
        pass
    return {}


def _sessions(event: dict[str, Any]) -> list[str]:
    """Return the names of this session: the agent's for it, and that of its commands."""
    given = [str(event[key]) for key in _SESSION_KEYS if event.get(key)]
    return list(dict.fromkeys([session_name(), *given]))


def _name_session(event: dict[str, Any]) -> None:
    """Give the commands of a session its name, where the agent takes variables from its hook."""
    file = os.environ.get("CLAUDE_ENV_FILE")
    session = next((str(event[key]) for key in _SESSION_KEYS if event.get(key)), "")
    if file and session.replace("-", "").isalnum():
        with Path(file).open("a", encoding="utf-8") as variables:
            variables.write(f"export HOPPER_SESSION={session}\n")
