"""Questions, comments, and what waits for a person, as text."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from hopper.cli.render.screen import Screen, escaped, one_line


def show_asked(data: dict[str, Any], args: Any, screen: Screen) -> None:
    """Say which question was asked, and how to answer it."""
    question = next(row for row in data["questions"] if row["text"] == args.question)
    screen.done(f"Asked about task: {data['id']}", question["id"])
    screen.remark(f"  Question: {question['id']}")
    screen.remark(f"  Next: hopper task answer {data['id']} --question-id {question['id']}")


def show_questions(data: list[dict[str, Any]], args: Any, screen: Screen) -> None:
    """List the questions of a task, oldest first, each with its answer."""
    screen.entries(data, question_lines, none="No questions.")


def question_lines(row: dict[str, Any]) -> Iterator[str]:
    """Yield a question as lines of text, safe for a terminal."""
    asked = f"{row['asked_by']} at {row['instance_id']}"
    yield f"{row['id']} [{row['state'].replace('_', ' ')}] asked by {escaped(asked)}"
    yield f"  {one_line(escaped(row['text']))}"
    if row["choices"]:
        yield f"  Choices: {one_line(escaped(', '.join(row['choices'])))}"
    if row["default"] is not None:
        yield f"  Default: {one_line(escaped(row['default']))} at {row['until'] or 'no time'}"
    if row["answer"] is not None:
        answer = one_line(escaped(row["answer"]))
        yield f"  Answer: {answer}, by {escaped(row['answered_by'])} at {row['answered_at']}"


def show_commented(data: dict[str, Any], args: Any, screen: Screen) -> None:
    """Say that the comment was kept."""
    screen.done(f"Commented on task: {args.id}", data["id"])


def show_comments(data: list[dict[str, Any]], args: Any, screen: Screen) -> None:
    """List the comments on a task, oldest first."""
    screen.entries(data, _comment_lines, none="No comments.")


def _comment_lines(row: dict[str, Any]) -> Iterator[str]:
    yield f"{row['created_at']} {escaped(row['created_by'])}"
    yield f"  {one_line(escaped(row['text']))}"


def show_attention(data: dict[str, Any], args: Any, screen: Screen) -> None:
    """List what waits for a person, under the name of who can move it, with the next command."""
    rows = [(group, [*group["tasks"], *group["instances"]]) for group in data["groups"]]
    if screen.quiet:
        for _, waiting in rows:
            screen.lines(row.get("task_id") or row["instance_id"] for row in waiting)
        return
    if not rows:
        screen.line("Nothing waits for a person.")
    for group, waiting in rows:
        screen.line(f"{group['who']} ({len(waiting)})")
        for row in waiting:
            screen.line(f"  {_waiting(row)}")
            screen.line(f"    {one_line(row['detail'])}")
            if row["next"]:
                screen.line(f"    Next: {row['next']['command']}")
    shown = sum(len(waiting) for _, waiting in rows)
    if data["counts"]["total"] > shown:
        screen.line(f"and {data['counts']['total'] - shown} more")


def _waiting(row: dict[str, Any]) -> str:
    if "task_id" not in row:
        return f"{row['instance_id']} {one_line(row['name'])} [{row['code']}]"
    place = row["instance_id"] or "unassigned"
    return f"{row['task_id']} {one_line(row['title'])} [{row['code']}] at {place}"
