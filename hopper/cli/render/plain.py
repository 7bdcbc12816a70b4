"""Lessons, runs, rules and answers without a form of their own as text."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from hopper.cli.render.tasks import show_list as show_tasks
from hopper.cli.transport import in_words

if TYPE_CHECKING:
    from hopper.cli.render.screen import Screen


def show_any(data: Any, args: Any, screen: Screen) -> None:
    """Show an object as lines of `name: value`, a list as one line an entry."""
    if isinstance(data, dict):
        screen.fields((key.replace("_", " ").capitalize(), in_words(data[key])) for key in data)
    elif isinstance(data, list):
        for row in data:
            screen.line(in_words(row))
    elif data is not None:
        screen.line(data)


def show_lesson_filed(data: dict[str, Any], args: Any, screen: Screen) -> None:
    """Say the id of the new lesson."""
    screen.done(f"Filed lesson: {data['id']}", data["id"])


def show_lessons(data: list[dict[str, Any]], args: Any, screen: Screen) -> None:
    """List lessons, one a line."""
    if not data:
        screen.line("No lessons.")
        return
    screen.table(
        ("ID", "Domain", "Confidence", "Project", "Title"),
        [
            (row["id"], row.get("domain"), row.get("confidence"), row.get("project"), row["title"])
            for row in data
        ],
    )


def show_lesson(data: dict[str, Any], args: Any, screen: Screen) -> None:
    """Show one lesson; its text comes last and verbatim."""
    text = data.get("description")
    show_any({key: data[key] for key in data if key != "description"}, args, screen)
    if text:
        screen.line()
        screen.line(str(text).removesuffix("\n"))


def show_run_started(data: dict[str, Any], args: Any, screen: Screen) -> None:
    """Say what the run consists of."""
    run = data["instance"]
    screen.done(f"Started run: {run['id']}", run["id"])
    screen.remark(f"  {run['scope']} under {data['project']['id']} [{run['status']}]")
    for worker, task in data["tasks"].items():
        known = " (was there)" if task["id"] in data["known"] else ""
        screen.remark(f"  {task['id']}  {worker}{known}")
    if not screen.quiet:
        screen.line(f"  Next: hopper worker NAME --instance {run['id']} -- COMMAND")


def show_run_status(data: dict[str, Any], args: Any, screen: Screen) -> None:
    """Say how far the run is, task by task."""
    run = data["instance"]
    counts = ", ".join(f"{number} {word}" for word, number in data["by_status"].items())
    screen.line(f"{run['id']} ({run['scope']}) [{run['status']}]: {counts or 'no tasks'}")
    if data["tasks"]:
        show_tasks(data["tasks"], args, screen)


def show_run_closed(data: Any, args: Any, screen: Screen) -> None:
    """Say that the run is closed, and its summary (R5)."""
    screen.done(f"Closed run: {args.id}", args.id)
    if not screen.quiet:
        show_any(data, args, screen)


def show_decisions(data: Any, args: Any, screen: Screen) -> None:
    """Say where a task goes and why, candidate by candidate."""
    rows = data if isinstance(data, list) else data.get("decisions") or [data]
    for row in rows:
        if not isinstance(row, dict):
            screen.line(in_words(row))
            continue
        candidates = row.get("candidates") or ()
        screen.fields(
            (key.replace("_", " ").capitalize(), in_words(value))
            for key, value in row.items()
            if key != "candidates"
        )
        for candidate in candidates:
            screen.line(f"  - {in_words(candidate)}")


def show_worked(data: dict[str, Any], args: Any, screen: Screen) -> None:
    """Sum up what a worker did."""
    screen.line(", ".join(f"{number} {word}" for word, number in data.items()))
