"""`hopper delegation`: offers and their outcomes."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from typing import Any

from hopper.cli.arguments import ID, LIMIT, Group, json_or_text, on_id, option
from hopper.cli.render import tasks as render
from hopper.cli.render.screen import show_any
from hopper.cli.transport import Client, UsageError, at, clean
from hopper.protocol import DELEGATION


def add_commands(parser: ArgumentParser) -> None:
    """Add the group's commands to its parser."""
    add = Group(parser).add
    add(
        "list",
        list_delegations,
        render.show_delegations,
        "list delegations",
        option("--instance", metavar="ID"),
        option("--direction", choices=("incoming", "outgoing", "all")),
        option("--status", type=str.lower, choices=tuple(DELEGATION.transitions)),
        option("--task", dest="task_id", metavar="ID"),
        LIMIT,
    )
    add("show", on_id(Client.get, "delegations"), show_any, "show a delegation", ID)
    notes = option("--notes")
    result = option("--result", type=json_or_text, metavar="JSON")
    for name, help, *options in (
        ("accept", "take the task", ID, notes),
        ("reject", "refuse the task", option("--reason", required=True), ID),
        ("complete", "report the task as done", result, ID, notes),
        ("cancel", "withdraw the delegation", option("--reason"), ID),
    ):
        add(name, answer, render.show_answered, help, *options, action=name)


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


def answer(args: Namespace, client: Client) -> Any:
    """Accept, reject, complete or cancel a delegation (R7)."""
    fields = {name: getattr(args, name, None) for name in ("notes", "reason", "result")}
    return client.post(at("delegations", args.id, args.action), clean(fields))
