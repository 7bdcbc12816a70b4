"""`hopper lesson`: lessons of tasks, for later tasks."""

from __future__ import annotations

import sys
from argparse import ArgumentParser, Namespace
from typing import Any

from hopper.cli.arguments import Group
from hopper.cli.render.screen import Screen, show_any
from hopper.cli.transport import Client, at, clean

CONFIDENCE = ("low", "medium", "high")


def add_commands(parser: ArgumentParser) -> None:
    """Add the group's commands to its parser."""
    group = Group(parser)
    file = group.add("add", add, show_lesson_filed, "file a lesson")
    file.add_argument("--task", dest="task_id", metavar="ID")
    file.add_argument("--title", required=True)
    file.add_argument("--domain", required=True)
    file.add_argument("--confidence", type=str.lower, choices=CONFIDENCE, default="medium")
    file.add_argument("--body", help="the lesson itself; asked for on a terminal")
    file.add_argument("--project")
    rows = group.add("list", list_lessons, show_lessons, "list lessons")
    rows.add_argument("--project")
    rows.add_argument("--domain")
    rows.add_argument("--confidence", type=str.lower, choices=CONFIDENCE)
    group.add("get", get, show_lesson, "show a lesson").add_argument("id")


def add(args: Namespace, client: Client) -> Any:
    """File a lesson. Asks for a missing text on a terminal."""
    body = args.body
    if body is None and args.interactive and not args.json and sys.stdin.isatty():
        sys.stderr.write("The lesson (end with Ctrl-D):\n")
        body = sys.stdin.read()
    fields = {
        "task_id": args.task_id,
        "title": args.title,
        "domain": args.domain,
        "confidence": args.confidence,
        "description": body or "",
        "project": args.project,
    }
    return client.post(at("lessons"), clean(fields))


def list_lessons(args: Namespace, client: Client) -> list[Any]:
    """Return the lessons that match."""
    params = {"project": args.project, "domain": args.domain, "confidence": args.confidence}
    return client.pages(at("lessons"), params)


def get(args: Namespace, client: Client) -> Any:
    """Return one lesson."""
    return client.get(at("lessons", args.id))


def show_lesson_filed(data: dict[str, Any], args: Any, screen: Screen) -> None:
    """Show the id of the new lesson."""
    screen.done(f"Filed lesson: {data['id']}", data["id"])


def show_lessons(data: list[dict[str, Any]], args: Any, screen: Screen) -> None:
    """List lessons, one for each line."""
    names = ("domain", "confidence", "project", "title")
    columns = {"ID": "id", **{name.capitalize(): name for name in names}}
    screen.rows(data, columns, none="No lessons.")


def show_lesson(data: dict[str, Any], args: Any, screen: Screen) -> None:
    """Show one lesson. Its text comes last, unchanged."""
    text = data.get("description")
    show_any({key: data[key] for key in data if key != "description"}, args, screen)
    if text:
        screen.line()
        screen.line(str(text).removesuffix("\n"))
