"""`hopper task`: delegation, history, and the calls of a worker."""

from __future__ import annotations

import sys
from argparse import Namespace
from typing import Any

from hopper.cli.arguments import (
    ID,
    LEASE,
    LIMIT,
    PREVIEW,
    Group,
    field_option,
    flag,
    json_list,
    json_object,
    json_or_text,
    on_id,
    option,
    text_of,
    user_name,
)
from hopper.cli.handlers import questions
from hopper.cli.handlers.reports import complete_and_claim, report
from hopper.cli.leases import KeptLeases
from hopper.cli.render import tasks as render
from hopper.cli.status_words import spoken
from hopper.cli.transport import Client, UsageError, at, clean
from hopper.cli.waiting import awaited_claim
from hopper.task_fields import TERMS, set_at

ASKED = ("title", "priority", "project")


def add_commands(group: Group) -> None:
    """Add the commands to the group `task`."""
    _add_tracing(group)
    _add_deciding(group)
    _add_working(group)
    questions.add_commands(group)


def _add_tracing(group: Group) -> None:
    add = group.add
    add(
        "delegate",
        delegate,
        render.show_delegated,
        "send a task one step down",
        ID,
        option("--to", required=True, metavar="INSTANCE"),
        option("--type", dest="delegation_type", choices=("route", "decompose", "reassign")),
        option("--notes"),
        flag("--offer", help="leave it open until accepted (R8)"),
        flag("--force", help="even to one that refused it (R10)"),
        option("--reason", help="why --force"),
    )
    chain = on_id(Client.get, "tasks", "delegations")
    add("delegations", chain, render.show_chain, "draw the way of a task", ID)
    add("why", why, render.show_why, "say the one reason why a task waits (R26)", ID)
    events = on_id(Client.pages, "tasks", "events")
    add("events", events, render.show_events, "list what happened to a task", ID)


def _add_deciding(group: Group) -> None:
    add = group.add
    children = option("--children", required=True, metavar="FILE", help="JSON list; - = stdin")
    terms = map(field_option, set_at(TERMS))
    help = "make a task's children (R13)"
    add("decompose", decompose, render.show_children, help, ID, children, *terms, *LEASE)
    below = option("--instance", metavar="ID", help="held there or below it")
    help = "list what failed for good (R15)"
    add("dead-letters", dead_letters, render.show_dead_letters, help, below, LIMIT)
    add("retry", retry, render.show_status, "open an ended task again (R18)", ID)
    reason = option("--reason")
    help = "take a failed task off that list"
    add("discard", discard, render.show_discarded, help, ID, reason)
    add("cancel", cancel, render.show_cancelled, "cancel a task (R16)", ID, reason, PREVIEW)
    reason, severity = option("--reason", required=True), option("--severity")
    help = "hand a task up (R11)"
    add("escalate", escalate, render.show_status, help, ID, reason, severity, *LEASE)


def _add_working(group: Group) -> None:
    add = group.add
    until = "until the instance has a task"
    add(
        "claim",
        claim,
        render.show_claimed,
        "take a task, or the next one",
        option("id", nargs="?"),
        option("--instance", metavar="ID", help="instead of a task: its next one"),
        option("--worker"),
        option("--lease", type=int, dest="lease_seconds", metavar="SECONDS"),
        option("--wait", type=int, default=0, metavar="SECONDS", help=until),
    )
    progress = option("--progress", type=float, metavar="0..1")
    checkpoint = option("--checkpoint", type=json_object, metavar="JSON")
    extended = (ID, progress, checkpoint, *LEASE)
    add("heartbeat", heartbeat, render.show_updated, "extend a lease", *extended)
    result = option("--result", type=json_or_text, metavar="JSON")
    words = "also take its next task, in one call"
    following = option("--next", dest="next_of", metavar="INSTANCE", help=words)
    help = "report a task as done"
    add("complete", complete, render.show_completed, help, ID, result, following, *LEASE)
    error, no_retry = option("--error", required=True), flag("--no-retry")
    help = "report a task as failed"
    add("fail", fail, render.show_status, help, ID, error, no_retry, *LEASE)
    add("release", release, render.show_status, "give a task back unfinished", ID, *LEASE)


def delegate(args: Namespace, client: Client) -> Any:
    """Send a task to a child of its holder. The child answers at once unless --offer (R8)."""
    body = {
        "target_instance_id": args.to,
        "delegation_type": args.delegation_type,
        "notes": args.notes,
        "accept": None if args.offer else "auto",
        "force": True if args.force else None,
        "reason": args.reason,
    }
    return client.post(at("tasks", args.id, "delegate"), clean(body))


def why(args: Namespace, client: Client) -> Any:
    """Return the reason why a task waits (R26)."""
    return spoken(client.get(at("tasks", args.id, "why")))


def decompose(args: Namespace, client: Client) -> list[Any]:
    """Create children from a JSON list. A child with a known `key` is only returned (R13)."""
    terms = {field.name: getattr(args, field.name) for field in set_at(TERMS)}
    made = report(args, client, "decompose", children=json_list(text_of(args.children)), **terms)
    return [spoken(task) for task in made]


def retry(args: Namespace, client: Client) -> Any:
    """Open an ended task again."""
    return spoken(client.post(at("tasks", args.id, "retry")))


def dead_letters(args: Namespace, client: Client) -> list[Any]:
    """Return the dead letters, the newest first (R15)."""
    params = {"dead_letter": True, "under": args.instance}
    return [spoken(task) for task in client.pages(at("tasks"), params, limit=args.limit)]


def discard(args: Namespace, client: Client) -> Any:
    """Take a failed task out of the dead letters. The task stays failed."""
    return spoken(client.post(at("tasks", args.id, "discard"), clean({"reason": args.reason})))


def cancel(args: Namespace, client: Client) -> Any:
    """Cancel a task and its open descendants."""
    body = clean({"reason": args.reason, "preview": True if args.preview else None})
    return spoken(client.post(at("tasks", args.id, "cancel"), body))


def escalate(args: Namespace, client: Client) -> Any:
    """Escalate a task to the instance that it came from."""
    fields = {"reason": args.reason, "severity": args.severity}
    return spoken(report(args, client, "escalate", **fields))


def claim(args: Namespace, client: Client) -> Any:
    """Take a given task, or the next one of an instance. This session keeps the lease."""
    if bool(args.id) == bool(args.instance):
        raise UsageError("Give a task's id, or --instance to take its next one.")
    worker = args.worker or user_name()
    body = clean({"worker": worker, "lease_seconds": args.lease_seconds})
    kept = KeptLeases.of(args)
    if args.id:
        task = client.post(at("tasks", args.id, "claim"), body)
        kept.keep(task, worker)
        return spoken(task)
    answer = awaited_claim(client, args.instance, body, args.wait)
    for task in answer["tasks"]:
        kept.keep(task, worker)
    return {**answer, "tasks": [spoken(task) for task in answer["tasks"]]}


def heartbeat(args: Namespace, client: Client) -> Any:
    """Extend a lease and store progress and checkpoint."""
    fields = {"progress": args.progress, "checkpoint": args.checkpoint}
    return spoken(report(args, client, "heartbeat", ends=False, **fields))


def complete(args: Namespace, client: Client) -> Any:
    """Report a task as done; with --next also take the next task of an instance."""
    if args.next_of is None:
        return spoken(report(args, client, "complete", result=args.result))
    answer = complete_and_claim(args, client, args.next_of, result=args.result)
    lists = {name: [spoken(row) for row in answer[name]] for name in ("completed", "tasks")}
    return {**answer, **lists}


def fail(args: Namespace, client: Client) -> Any:
    """Report a task as failed. It is tried again unless --no-retry (R15)."""
    return spoken(report(args, client, "fail", error=args.error, retryable=not args.no_retry))


def release(args: Namespace, client: Client) -> Any:
    """Give a task back unfinished."""
    return spoken(report(args, client, "release"))


class Asking:
    """Asks on the terminal for the fields of a task. An empty answer keeps the value.

    The answers stand while nobody else changes their fields. A field that was changed meanwhile is
    shown with both values and asked for again.
    """

    def __init__(self) -> None:
        self._seen: dict[str, Any] = {}
        self._answers: dict[str, str] = {}

    def answers(self, args: Namespace, task: dict[str, Any]) -> dict[str, str]:
        """Return the answers about the task, by field. Raises UsageError without a terminal."""
        if not args.interactive or not sys.stdin.isatty():
            raise UsageError("-i asks questions and needs a terminal.")
        overtaken = [name for name in self._answers if task[name] != self._seen[name]]
        for name in overtaken:
            mine = self._answers.pop(name)
            words = f"{name} was changed meanwhile: it is {task[name]!r}, and you gave {mine!r}."
            sys.stderr.write(f"{words}\n")
        for name in overtaken if self._seen else ASKED:
            sys.stderr.write(f"{name} [{task.get(name) or ''}]: ")
            sys.stderr.flush()
            answer = sys.stdin.readline().strip()
            if answer:
                self._answers[name] = answer
        self._seen = task
        return self._answers
