"""`hopper delegation`: offers and their outcomes."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from typing import Any

from hopper.cli.arguments import Group, json_or_text
from hopper.cli.render import tasks as render
from hopper.cli.transport import Client, UsageError, at, clean
from hopper.protocol import DELEGATION


def add_commands(parser: ArgumentParser) -> None:
    """Add the group's commands to its parser."""
    group = Group(parser)
    rows = group.add("list", list_delegations, render.show_delegations, "list delegations")
    rows.add_argument("--instance", metavar="ID")
    rows.add_argument("--direction", choices=("incoming", "outgoing", "all"))
    rows.add_argument("--status", type=str.lower, choices=tuple(DELEGATION.transitions))
    rows.add_argument("--task", dest="task_id", metavar="ID")
    rows.add_argument("--limit", type=int, metavar="N")
    group.add("show", show, render.show_delegation, "show a delegation").add_argument("id")
    yes = group.add("accept", answer, render.show_answered, "take the task")
    no = group.add("reject", answer, render.show_answered, "refuse the task")
    no.add_argument("--reason", required=True)
    end = group.add("complete", answer, render.show_answered, "report the task as done")
    end.add_argument("--result", type=json_or_text, metavar="JSON")
    back = group.add("cancel", answer, render.show_answered, "withdraw the delegation")
    back.add_argument("--reason")
    for name, command in (("accept", yes), ("reject", no), ("complete", end), ("cancel", back)):
        command.set_defaults(action=name)
        command.add_argument("id")
        if name in ("accept", "complete"):
            command.add_argument("--notes")


def list_delegations(args: Namespace, client: Client) -> list[Any]:
    """Return the delegations of an instance, of a task, or all."""
    params = {"status": args.status, "task_id": args.task_id}
    if args.direction and not args.instance:
        raise UsageError("--direction needs --instance.")
    if not args.instance:
        return client.pages(at("delegations"), params, limit=args.limit)
    if args.task_id:
        raise UsageError("Give --instance or --task, not both.")
    params = {"status": args.status, "direction": args.direction}
    return client.pages(at("instances", args.instance, "delegations"), params, limit=args.limit)


def show(args: Namespace, client: Client) -> Any:
    """Return one delegation."""
    return client.get(at("delegations", args.id))


def answer(args: Namespace, client: Client) -> Any:
    """Accept, reject, complete or cancel a delegation (R7)."""
    fields = {name: getattr(args, name, None) for name in ("notes", "reason", "result")}
    return client.post(at("delegations", args.id, args.action), clean(fields))
