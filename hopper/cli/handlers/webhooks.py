"""`hopper webhook`: send the events of a subtree to a URL."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from typing import Any

from hopper.cli.arguments import Group, confirmed
from hopper.cli.render.screen import Column, Screen, show_any
from hopper.cli.transport import Client, UsageError, at, clean


def add_commands(parser: ArgumentParser) -> None:
    """Add the group's commands to its parser."""
    group = Group(parser)
    new = group.add("add", add, show_secret, "send the events of an instance and below to a URL")
    new.add_argument("url", help="https://…")
    new.add_argument("--instance", required=True, metavar="ID")
    _add_kinds(new)
    new.add_argument("--description", metavar="TEXT")
    rows = group.add("list", list_webhooks, show_webhooks, "list webhooks")
    rows.add_argument("--instance", metavar="ID")
    group.add("show", show, show_any, "show a webhook").add_argument("id")
    log = group.add("log", deliveries, show_deliveries, "list the newest deliveries and failures")
    log.add_argument("id")
    log.add_argument("--limit", type=int, default=20, help="the most rows (20)")
    edit = group.add("update", update, show_changed, "change a webhook, or switch it on or off")
    edit.add_argument("id")
    edit.add_argument("--url")
    _add_kinds(edit)
    edit.add_argument("--description", metavar="TEXT")
    edit.add_argument("--on", dest="enabled", action="store_const", const=True, help="switch on")
    edit.add_argument("--off", dest="enabled", action="store_const", const=False, help="and off")
    again = group.add("replay", replay, show_changed, "switch on, and send events again")
    again.add_argument("id")
    again.add_argument(
        "--after", type=int, metavar="NUMBER", help="after this event (default: where it stopped)"
    )
    group.add("test", test, show_tested, "send a test message").add_argument("id")
    group.add("rotate", rotate, show_secret, "give it another secret").add_argument("id")
    gone = group.add("remove", remove, show_removed, "remove a webhook and its log")
    gone.add_argument("id")
    gone.add_argument("--yes", action="store_true", help="do not ask")


def _add_kinds(parser: ArgumentParser) -> None:
    help = "only this kind of event: task.done, or a group: task.* (several times)"
    parser.add_argument("--kind", action="append", dest="kinds", metavar="KIND", help=help)


def add(args: Namespace, client: Client) -> Any:
    """Add a webhook; the answer holds its secret."""
    body = {"url": args.url, "instance_id": args.instance, **_changes(args)}
    return client.post(at("webhooks"), body)


def list_webhooks(args: Namespace, client: Client) -> list[Any]:
    """Return the webhooks."""
    return client.pages(at("webhooks"), {"instance_id": args.instance})


def show(args: Namespace, client: Client) -> Any:
    """Return one webhook."""
    return client.get(at("webhooks", args.id))


def deliveries(args: Namespace, client: Client) -> list[Any]:
    """Return the newest rows of the log."""
    return client.pages(at("webhooks", args.id, "deliveries"), limit=args.limit)


def update(args: Namespace, client: Client) -> Any:
    """Change the fields that were given. Raises UsageError for none."""
    changes = clean({"url": args.url, "enabled": args.enabled}) | _changes(args)
    if not changes:
        raise UsageError("Give one of --url, --kind, --description, --on, --off.")
    return client.patch(at("webhooks", args.id), changes)


def replay(args: Namespace, client: Client) -> Any:
    """Send events again, or go on."""
    return client.post(at("webhooks", args.id, "replay"), clean({"after": args.after}))


def test(args: Namespace, client: Client) -> Any:
    """Send a test message."""
    return client.post(at("webhooks", args.id, "test"))


def rotate(args: Namespace, client: Client) -> Any:
    """Make another secret; the answer holds it."""
    return client.post(at("webhooks", args.id, "rotate"))


def remove(args: Namespace, client: Client) -> Any:
    """Remove a webhook, after a question on a terminal."""
    confirmed(args, f"Remove {args.id} and its log?")
    client.delete(at("webhooks", args.id))
    return {"id": args.id}


def _changes(args: Namespace) -> dict[str, Any]:
    return clean({"kinds": args.kinds, "description": args.description})


def show_secret(data: dict[str, Any], args: Any, screen: Screen) -> None:
    """Show the id, and the secret that is not shown again."""
    screen.done(f"Webhook: {data['id']}", data["id"])
    screen.remark(f"  Secret: {data['secret']}")
    screen.remark("  Keep it: it is not shown again. The receiver checks the signatures with it.")


def show_webhooks(data: list[dict[str, Any]], args: Any, screen: Screen) -> None:
    """List webhooks, one a line."""
    columns: dict[str, Column] = {"ID": "id", "Instance": "instance_id", "State": _state}
    screen.rows(data, {**columns, "URL": "url", "Kinds": _kinds}, none="No webhooks.")


def _state(row: dict[str, Any]) -> str:
    if not row["enabled"]:
        return f"off: {row['off_reason']}" if row["off_reason"] else "off"
    return f"failing since {row['failing_since']}" if row["failing_since"] else "on"


def _kinds(row: dict[str, Any]) -> str:
    return ", ".join(row["kinds"]) or "all"


def show_deliveries(data: list[dict[str, Any]], args: Any, screen: Screen) -> None:
    """List deliveries, one a line, the newest first."""
    columns = {"ID": "id", "At": "at", "Event": "position", "Kind": "kind", "Seconds": "seconds"}
    screen.rows(data, {**columns, "Outcome": _outcome}, none="No deliveries.")


def _outcome(row: dict[str, Any]) -> str:
    return row["reason"] or f"delivered ({row['status']})"


def show_changed(data: dict[str, Any], args: Any, screen: Screen) -> None:
    """Say how the webhook stands now."""
    screen.done(f"Webhook: {data['id']} is {_state(data)}, after {data['position']}", data["id"])


def show_tested(data: dict[str, Any], args: Any, screen: Screen) -> None:
    """Say where the outcome of the test will stand."""
    screen.done(f"Test message asked for: {data['id']}", data["id"])
    screen.remark(f"  Next: hopper webhook log {data['id']}")


def show_removed(data: dict[str, Any], args: Any, screen: Screen) -> None:
    """Say that the webhook is gone."""
    screen.done(f"Removed webhook: {data['id']}", data["id"])
