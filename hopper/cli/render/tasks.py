"""Tasks and their delegations as text."""

from __future__ import annotations

from typing import Any

from hopper.cli.render.previews import or_preview
from hopper.cli.render.questions import question_lines
from hopper.cli.render.screen import Screen, one_line, told
from hopper.cli.transport import in_words
from hopper.counts import counted


def show_list(data: list[dict[str, Any]], args: Any, screen: Screen) -> None:
    """List tasks, one a line."""
    if getattr(args, "compact", False) and not screen.quiet:
        screen.lines(f"{row['id']} {row['status']} {one_line(row['title'])}" for row in data)
        return
    columns: dict[str, Any] = {
        "ID": "id",
        "Status": "status",
        "Priority": "priority",
        "Instance": _held_by,
        "Title": "title",
        "Tags": lambda row: ", ".join(row.get("tags") or ()),
    }
    screen.rows(data, columns, none="No tasks.")


def _held_by(task: dict[str, Any]) -> str:
    return task.get("instance_id") or "-"


def show_task(data: dict[str, Any], args: Any, screen: Screen) -> None:
    """Show one task. Its description comes last, unchanged."""
    waiting = data.get("waiting_on") or {}
    reason = " ".join(str(waiting[key]) for key in ("code", "detail") if waiting.get(key))
    screen.fields(
        [
            ("Task", data["id"]),
            ("Title", data["title"]),
            ("Status", data["status"]),
            ("Waiting on", reason),
            ("Priority", data.get("priority")),
            ("Instance", data.get("instance_id") or "none (unassigned)"),
            ("Origin", data.get("origin_instance_id")),
            ("Offered to", data.get("offered_to")),
            ("Goes back to", data.get("return_to")),
            ("Project", data.get("project")),
            ("Tags", ", ".join(data.get("tags") or ())),
            ("Parent", data.get("parent_id")),
            ("Children", _children(data)),
            ("Depends on", ", ".join(data.get("depends_on") or ())),
            ("Needs", ", ".join(data.get("required_capabilities") or ())),
            ("Owner", data.get("owner")),
            ("Worker", data.get("worker")),
            ("Lease until", data.get("lease_expires_at")),
            ("Attempt", data.get("attempt")),
            ("Progress", _progress(data)),
            ("Checkpoint", in_words(data.get("checkpoint") or {})),
            ("Created", f"{data.get('created_at')} by {data.get('created_by') or '-'}"),
            ("Finished", data.get("finished_at")),
            ("Result", in_words(data.get("result") or {})),
            ("Error", in_words(data.get("error") or {})),
        ]
    )
    for question in data.get("questions") or ():
        screen.lines(question_lines(question))
    _show_texts(data, screen)


def _progress(task: dict[str, Any]) -> str:
    """Return the share that the last worker reported, and when; empty without a report."""
    share = task.get("progress")
    return "" if share is None else f"{share:.0%}, reported {task.get('reported_at')}"


def _children(task: dict[str, Any]) -> str:
    """Return the number of children of each status, and the command that lists them."""
    counts = ", ".join(f"{n} {status}" for status, n in (task.get("children") or {}).items() if n)
    return f"{counts} (hopper task list --parent {task['id']})" if counts else ""


def _show_texts(data: dict[str, Any], screen: Screen) -> None:
    """Show the description of a task verbatim, then its lessons."""
    if data.get("description"):
        screen.line()
        screen.line(str(data["description"]).removesuffix("\n"))
    if data.get("lessons"):
        screen.line("\n## Relevant Lessons")
        for lesson in data["lessons"]:
            screen.line(f"\n### {lesson['title']} ({lesson.get('confidence', '-')} confidence)\n")
            screen.line(lesson.get("description") or "")


show_created = told("Created task: {id}")  # scripts read this line


show_updated = told("Updated task: {id}")


show_status = told("Changed status to: {status}")


def show_completed(data: dict[str, Any], args: Any, screen: Screen) -> None:
    """Show the new status of the task, and the task that was claimed with the report."""
    show_status(data["completed"][0] if "completed" in data else data, args, screen)
    if "completed" in data:
        show_claimed(data, args, screen)


show_cancelled = or_preview(show_status)


def show_children(data: list[dict[str, Any]], args: Any, screen: Screen) -> None:
    """Show the ids of the children in the given order."""
    for row in data:
        at = row.get("offered_to") or row.get("instance_id") or "unassigned"
        screen.done(
            f"Child task: {row['id']} {one_line(row['title'])} [{row['status']}] at {at}", row["id"]
        )


def show_dead_letters(data: list[dict[str, Any]], args: Any, screen: Screen) -> None:
    """List dead letters with their attempts and last errors."""
    columns: dict[str, Any] = {
        "ID": "id",
        "Failed": "finished_at",
        "Instance": _held_by,
        "Attempts": "attempt",
        "Title": "title",
        "Error": "error",
    }
    screen.rows(data, columns, none="No dead letters.")


show_discarded = told("Discarded task: {id}")


show_deleted = or_preview(told("Deleted task: {id}"))


def show_claimed(data: Any, args: Any, screen: Screen) -> None:
    """Show the claimed task and its lease."""
    for task in data.get("tasks", [data]):
        screen.done(f"Claimed task: {task['id']}", task["id"])
        lease = task.get("lease") or {}
        if lease.get("token"):
            screen.remark(f"  Lease: {lease['token']} until {lease.get('expires_at')}")
    if "tasks" in data and not data["tasks"]:
        screen.line(f"Nothing to claim: {in_words(data.get('waiting') or 'no ready task')}")


def show_why(data: dict[str, Any], args: Any, screen: Screen) -> None:
    """Show the reason why the task waits (R26), in words and then as data."""
    screen.line(data["words"])
    reason = data.get("waiting_on") or {}
    screen.fields(
        [
            ("Status", data["status"]),
            *((key.capitalize(), in_words(value)) for key, value in reason.items() if value),
        ]
    )


def show_events(data: list[dict[str, Any]], args: Any, screen: Screen) -> None:
    """List what happened, oldest first."""
    for row in data:
        change = f"{row.get('before') or '-'} > {row['status']}" if row.get("status") else ""
        words = (
            row["at"],
            row["kind"],
            change,
            f"at {row['instance_id']}" if row.get("instance_id") else "",
            f"by {row['actor']}" if row.get("actor") else "",
            in_words(row.get("data") or {}),
        )
        screen.line("  ".join(word for word in words if word))


def show_delegated(data: dict[str, Any], args: Any, screen: Screen) -> None:
    """Show the answer of the target and the next step (R8)."""
    task, target, id = data["task_id"], data["target_instance_id"], data["id"]
    status = data["status"]
    if status == "pending":
        until = f" until {data['expires_at']}" if data.get("expires_at") else ""
        screen.done(f"Offered task: {task} to {target}, pending{until}", id)
        screen.remark(f"  Next: hopper delegation accept {id}, or reject {id} --reason WHY")
    elif status in ("accepted", "completed"):
        screen.done(f"Delegated task: {task} to {target}, {status}", id)
        screen.remark(f"  Delegation: {id}")
        screen.remark(f"  Next: {target} holds it; follow it with hopper task delegations {task}")
    else:
        why = data.get("rejection_reason") or data.get("reason") or "no reason given"
        screen.line(f"✗ {target} did not take {task}: {status} ({why})")
        screen.remark(f"  Next: hopper task why {task} says where it waits")


def show_chain(data: dict[str, Any], args: Any, screen: Screen) -> None:
    """Draw the path of a task: origin, each hop, and holder."""
    screen.line(f"{data['task_id']}: {counted(data['total_delegations'], 'delegation')}")
    screen.line(f"origin   {data.get('origin_instance_id') or 'none (unassigned)'}")
    for depth, hop in enumerate(data["delegations"]):
        words = hop.get("rejection_reason") or hop.get("reason")
        why = f" ({words})" if words else ""
        source = hop.get("source_instance_id") or "unassigned"
        screen.line(
            f"{'   ' * depth}└── {hop['delegation_type']}: {source} → "
            f"{hop['target_instance_id']} [{hop['status']}]{why} {hop['id']}"
        )
    screen.line(f"current  {data.get('current_instance_id') or 'none (unassigned)'}")


def show_delegations(data: list[dict[str, Any]], args: Any, screen: Screen) -> None:
    """List delegations, one a line."""
    columns: dict[str, Any] = {
        "ID": "id",
        "Task": "task_id",
        "Type": "delegation_type",
        "From": lambda row: row.get("source_instance_id") or "-",
        "To": "target_instance_id",
        "Status": "status",
        "Reason": lambda row: row.get("rejection_reason") or row.get("reason"),
    }
    screen.rows(data, columns, none="No delegations.")


show_answered = told("Delegation {id}: {status}")
