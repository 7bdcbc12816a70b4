"""`hopper webhook`: send the events of a subtree to a URL, by mail or to a chat."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from functools import partial
from typing import Any

from hopper.cli.arguments import ID, YES, Group, confirmed, on_id, option
from hopper.cli.render.screen import Column, Screen, show_any, told
from hopper.cli.transport import Client, UsageError, at, clean


def add_commands(parser: ArgumentParser) -> None:
    """Add the group's commands to its parser."""
    add = Group(parser).add
    words = "only this kind of event: task.done, or a group: task.* (several times)"
    kinds = option("--kind", action="append", dest="kinds", metavar="KIND", help=words)
    description = option("--description", metavar="TEXT")
    there = option("--instance", required=True, metavar="ID")
    help = "send the events of an instance and below to a URL"
    url = option("url", help="https://…, or mailtos, slack, discord, ntfy")
    add("add", subscribe, show_secret, help, url, there, kinds, description)
    add("list", list_webhooks, show_webhooks, "list webhooks", option("--instance", metavar="ID"))
    add("show", on_id(Client.get, "webhooks"), show_any, "show a webhook", ID)
    limit = option("--limit", type=int, default=20, help="the most rows (20)")
    help = "list the newest deliveries and failures"
    add("log", deliveries, show_deliveries, help, ID, limit)
    switch = partial(option, dest="enabled", action="store_const")
    add(
        "update",
        update,
        show_changed,
        "change a webhook, or switch it on or off",
        ID,
        option("--url"),
        kinds,
        description,
        switch("--on", const=True, help="switch on"),
        switch("--off", const=False, help="and off"),
    )
    words = "after this event (default: where it stopped)"
    after = option("--after", type=int, metavar="NUMBER", help=words)
    add("replay", replay, show_changed, "switch on, and send events again", ID, after)
    add("test", on_id(Client.post, "webhooks", "test"), show_tested, "send a test message", ID)
    rotate = on_id(Client.post, "webhooks", "rotate")
    add("rotate", rotate, show_secret, "give it another secret", ID)
    add("remove", remove, show_removed, "remove a webhook and its log", ID, YES)


def subscribe(args: Namespace, client: Client) -> Any:
    """Add a webhook; the answer holds its secret."""
    body = {"url": args.url, "instance_id": args.instance, **_changes(args)}
    return client.post(at("webhooks"), body)


def list_webhooks(args: Namespace, client: Client) -> list[Any]:
    """Return the webhooks."""
    return client.pages(at("webhooks"), {"instance_id": args.instance})


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
    if not data["url"].startswith("http"):
        return  # Mail and chat carry no signature.
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
    return row["reason"] or (f"delivered ({row['status']})" if row["status"] else "delivered")


def show_changed(data: dict[str, Any], args: Any, screen: Screen) -> None:
    """Say how the webhook stands now."""
    screen.done(f"Webhook: {data['id']} is {_state(data)}, after {data['position']}", data["id"])


def show_tested(data: dict[str, Any], args: Any, screen: Screen) -> None:
    """Say where the outcome of the test will stand."""
    screen.done(f"Test message asked for: {data['id']}", data["id"])
    screen.remark(f"  Next: hopper webhook log {data['id']}")


show_removed = told("Removed webhook: {id}")
