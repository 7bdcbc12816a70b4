"""`hopper lesson`: lessons of tasks, for later tasks."""

from __future__ import annotations

import sys
from argparse import ArgumentParser, Namespace
from functools import partial
from typing import Any

from hopper.cli.arguments import ID, Group, on_id, option
from hopper.cli.render.screen import Screen, show_any, told
from hopper.cli.transport import Client, at, clean

CONFIDENCE = ("low", "medium", "high")


def add_commands(parser: ArgumentParser) -> None:
    """Add the group's commands to its parser."""
    add = Group(parser).add
    project = option("--project")
    confidence = partial(option, "--confidence", type=str.lower, choices=CONFIDENCE)
    add(
        "add",
        file_lesson,
        show_lesson_filed,
        "file a lesson",
        option("--task", dest="task_id", metavar="ID"),
        option("--title", required=True),
        option("--domain", required=True),
        confidence(default="medium"),
        option("--body", help="the lesson itself; asked for on a terminal"),
        project,
    )
    domain = option("--domain")
    add("list", list_lessons, show_lessons, "list lessons", project, domain, confidence())
    add("get", on_id(Client.get, "lessons"), show_lesson, "show a lesson", ID)


def file_lesson(args: Namespace, client: Client) -> Any:
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


show_lesson_filed = told("Filed lesson: {id}")


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
