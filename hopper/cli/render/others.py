"""Lessons, runs, rules and answers without a form of their own as text."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from hopper.cli.render.previews import show_preview
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
    """Say that the run is closed, and its summary (R5), or what closing it would do."""
    if args.preview:
        show_preview(data, args, screen)
        return
    screen.done(f"Closed run: {args.id}", args.id)
    if not screen.quiet:
        show_any(data, args, screen)


def show_config(data: dict[str, Any], args: Any, screen: Screen) -> None:
    """Show where commands go to; or an instance's settings, one a line, with their sources."""
    if "settings" not in data:
        show_any(data, args, screen)
        return
    screen.table(
        ("Setting", "Value", "From"),
        [
            (key, _value(one["value"]), one["source"] + (f":{one['line']}" if one["line"] else ""))
            for key, one in data["settings"].items()
        ],
    )


def _value(value: Any) -> str:
    return "none" if value == [] else in_words(value)


def show_rules(data: list[dict[str, Any]], args: Any, screen: Screen) -> None:
    """List routing rules, one a line."""
    if not data:
        screen.line("No rules.")
        return
    columns = ("id", "type", "destination", "weight", "priority", "enabled", "name")
    rows = [[*(in_words(row.get(name)) for name in columns), _matches(row)] for row in data]
    screen.table([*(name.capitalize() for name in columns), "Good matches"], rows)


def _matches(row: dict[str, Any]) -> str:
    """Return how many of those who judged a rule's choices found them good."""
    good, judged = row.get("good_matches", 0), row.get("judged", 0)
    return f"{good} of {judged} ({row['accuracy']:.0%})" if judged else "-"


def show_decisions(data: Any, args: Any, screen: Screen) -> None:
    """Say hop by hop where a task goes and why, candidate by candidate."""
    rows = data if isinstance(data, list) else data.get("decisions") or [data]
    if not rows:
        screen.line("Nothing was decided yet.")
    for row in rows:
        target = f" to {row['target_id']}" if row.get("target_id") else ""
        screen.line(f"{row.get('instance_id') or '-'}: {row.get('verdict')}{target}")
        if row.get("answer") in ("wait", "refuse"):
            screen.line(f"  which would {row['answer']}: {row['answer_reason']}")
        for reason in row.get("reasons") or ():
            screen.line(f"  because {in_words(reason)}")
        for candidate in row.get("candidates") or ():
            screen.line(f"  - {_candidate(candidate)}")


def _candidate(candidate: dict[str, Any]) -> str:
    refused = [f"{name} {why}" for name, why in candidate["filters"].items() if why != "ok"]
    figures = f"score {candidate['score']}, load {candidate['load']}"
    fits = "fits" if candidate["fits"] else f"does not fit ({', '.join(refused)})"
    return f"{candidate['instance_id']} {fits}, {figures}"


def show_worked(data: dict[str, Any], args: Any, screen: Screen) -> None:
    """Sum up what a worker did."""
    screen.line(", ".join(f"{number} {word}" for word, number in data.items()))
