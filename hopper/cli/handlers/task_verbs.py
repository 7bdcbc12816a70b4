"""`hopper task`: delegation, history, and the calls of a worker."""

from __future__ import annotations

import sys
from argparse import Namespace
from typing import Any

from hopper.cli.arguments import (
    Group,
    add_field,
    add_lease_options,
    json_list,
    json_object,
    json_or_text,
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
    send = group.add("delegate", delegate, render.show_delegated, "send a task one step down")
    send.add_argument("id")
    send.add_argument("--to", required=True, metavar="INSTANCE")
    send.add_argument("--type", dest="delegation_type", choices=("route", "decompose", "reassign"))
    send.add_argument("--notes")
    send.add_argument("--offer", action="store_true", help="leave it open until accepted (R8)")
    send.add_argument("--force", action="store_true", help="even to one that refused it (R10)")
    send.add_argument("--reason", help="why --force")
    for name, handler, show, help in (
        ("delegations", chain, render.show_chain, "draw the way of a task"),
        ("why", why, render.show_why, "say the one reason why a task waits (R26)"),
        ("events", events, render.show_events, "list what happened to a task"),
    ):
        group.add(name, handler, show, help).add_argument("id")


def _add_deciding(group: Group) -> None:
    split = group.add("decompose", decompose, render.show_children, "make a task's children (R13)")
    split.add_argument("id")
    split.add_argument("--children", required=True, metavar="FILE", help="JSON list; - = stdin")
    for field in set_at(TERMS):
        add_field(split, field)
    add_lease_options(split)
    dead = group.add(
        "dead-letters", dead_letters, render.show_dead_letters, "list what failed for good (R15)"
    )
    dead.add_argument("--instance", metavar="ID", help="held there or below it")
    dead.add_argument("--limit", type=int, metavar="N")
    again = group.add("retry", retry, render.show_status, "open an ended task again (R18)")
    again.add_argument("id")
    drop = group.add("discard", discard, render.show_discarded, "take a failed task off that list")
    drop.add_argument("id")
    drop.add_argument("--reason")
    stop = group.add("cancel", cancel, render.show_cancelled, "cancel a task (R16)")
    stop.add_argument("id")
    stop.add_argument("--reason")
    stop.add_argument("--preview", action="store_true", help="preview the effects, write nothing")
    up = group.add("escalate", escalate, render.show_status, "hand a task up (R11)")
    up.add_argument("id")
    up.add_argument("--reason", required=True)
    up.add_argument("--severity")
    add_lease_options(up)


def _add_working(group: Group) -> None:
    take = group.add("claim", claim, render.show_claimed, "take a task, or the next one")
    take.add_argument("id", nargs="?")
    take.add_argument("--instance", metavar="ID", help="instead of a task: its next one")
    take.add_argument("--worker")
    take.add_argument("--lease", type=int, dest="lease_seconds", metavar="SECONDS")
    take.add_argument(
        "--wait", type=int, default=0, metavar="SECONDS", help="until the instance has a task"
    )
    beat = group.add("heartbeat", heartbeat, render.show_updated, "extend a lease")
    beat.add_argument("id")
    beat.add_argument("--progress", type=float, metavar="0..1")
    beat.add_argument("--checkpoint", type=json_object, metavar="JSON")
    end = group.add("complete", complete, render.show_completed, "report a task as done")
    end.add_argument("id")
    end.add_argument("--result", type=json_or_text, metavar="JSON")
    end.add_argument(
        "--next", dest="next_of", metavar="INSTANCE", help="also take its next task, in one call"
    )
    broke = group.add("fail", fail, render.show_status, "report a task as failed")
    broke.add_argument("id")
    broke.add_argument("--error", required=True)
    broke.add_argument("--no-retry", action="store_true")
    back = group.add("release", release, render.show_status, "give a task back unfinished")
    back.add_argument("id")
    for parser in (beat, end, broke, back):
        add_lease_options(parser)


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


def chain(args: Namespace, client: Client) -> Any:
    """Return the delegations of a task from its origin to its holder."""
    return client.get(at("tasks", args.id, "delegations"))


def why(args: Namespace, client: Client) -> Any:
    """Return the reason why a task waits (R26)."""
    return spoken(client.get(at("tasks", args.id, "why")))


def events(args: Namespace, client: Client) -> list[Any]:
    """Return the history of a task."""
    return client.pages(at("tasks", args.id, "events"))


def decompose(args: Namespace, client: Client) -> list[Any]:
    """Create children from a JSON list. A child with a known `key` is only returned (R13)."""
    terms = {field.name: getattr(args, field.name) for field in set_at(TERMS)}
    children = json_list(text_of(args.children))
    made = report(args, client, "decompose", children=children, **terms)
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
    body = clean({"reason": args.reason})
    return spoken(client.post(at("tasks", args.id, "discard"), body))


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


def asked(args: Namespace, task: dict[str, Any]) -> dict[str, str]:
    """Ask on the terminal for each field. An empty answer keeps the value."""
    if not args.interactive or not sys.stdin.isatty():
        raise UsageError("-i asks questions and needs a terminal.")
    answers = {}
    for field in ASKED:
        sys.stderr.write(f"{field} [{task.get(field) or ''}]: ")
        sys.stderr.flush()
        answer = sys.stdin.readline().strip()
        if answer:
            answers[field] = answer
    return answers
