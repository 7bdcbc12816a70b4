"""Instances as text: the tree, the dashboard, lists and details."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from hopper.cli.render.previews import or_preview, show_preview
from hopper.cli.render.screen import COLORS, Screen, told
from hopper.cli.status_words import OPEN_STATUSES
from hopper.cli.transport import in_words
from hopper.counts import counted

if TYPE_CHECKING:
    from rich.text import Text
    from rich.tree import Tree

PLURALS = {
    "PROJECT": "Projects",
    "ORCHESTRATION": "Orchestrations",
    "PERSONAL": "Personal",
    "FAMILY": "Families",
    "EVENT": "Events",
    "FEDERATED": "Federated",
}
ALWAYS = ("PROJECT", "ORCHESTRATION")
BOX = 51
GUIDE = "├── "


def state(instance: dict[str, Any]) -> str:
    """Return the own status and, if different, the effective status (R4)."""
    own = str(instance["status"])
    effective = instance.get("effective_status") or own
    return own if effective == own else f"{own}, effectively {effective}"


def open_tasks(instance: dict[str, Any]) -> int:
    """Return the number of unfinished tasks that the instance itself holds."""
    counts = instance.get("task_counts") or {}
    if "open" in counts:
        return int(counts["open"])
    return sum(int(counts.get(status, 0)) for status in OPEN_STATUSES)


def label(instance: dict[str, Any], *, tasks: bool, screen: Screen) -> Text:
    """Return the line of an instance in the tree."""
    from rich.text import Text

    name, id = screen.cell(instance["name"]), screen.cell(instance["id"])
    text = Text(name, style="bold")
    if id != name:
        text.append(f" {id}", style="not bold")
    text.append(f" ({instance['scope']})", style="not bold")
    color = COLORS.get(str(instance.get("effective_status") or instance["status"]), "")
    text.append(f" [{state(instance)}]", style=f"not bold {color}")
    count = open_tasks(instance) if tasks else 0
    if count:
        text.append(f" - {counted(count, 'task')}", style="not bold")
    return text


def show_tree(data: list[dict[str, Any]], args: Any, screen: Screen) -> None:
    """Draw every root with its subtree."""
    if not data:
        screen.line("No instances yet. `hopper instance create NAME --scope GLOBAL` makes one.")
    for root in data:
        tree = _branch(root, args, screen)
        # Rich cuts a label that is too long, without a sign. The terminal wraps it instead.
        screen.draw(tree, least=_width(tree))


def _width(tree: Tree, depth: int = 0) -> int:
    """Return the columns that show each node of a tree on one line."""
    own = len(str(tree.label)) + depth * len(GUIDE)
    return max([own, *(_width(child, depth + 1) for child in tree.children)])


def _branch(root: dict[str, Any], args: Any, screen: Screen) -> Tree:
    from rich.tree import Tree

    def grow(tree: Tree, node: dict[str, Any]) -> Tree:
        for child in node.get("children") or ():
            grow(tree.add(label(child, tasks=not args.no_tasks, screen=screen)), child)
        return tree

    return grow(Tree(label(root, tasks=not args.no_tasks, screen=screen)), root)


def show_status(data: dict[str, Any], args: Any, screen: Screen) -> None:
    """Draw the dashboard."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.SQUARE)
    table.add_column("Hopper Instance Status", min_width=BOX, no_wrap=not screen.tty)
    for line in _dashboard(data):
        table.add_row(Text(screen.cell(line)))
    screen.draw(table)


def _dashboard(data: dict[str, Any]) -> list[str]:
    root = data.get("global")
    lines = []
    if root:
        shown = f"[{state(root)}]"
        lines.append(f"Global: {root['name']} ".ljust(BOX - 1 - len(shown)) + shown)
    else:
        lines.append("Global: none")
    scopes = data.get("scopes") or {}
    for scope, plural in PLURALS.items():
        counts = scopes.get(scope) or {}
        if scope in ALWAYS or any(counts.values()):
            lines.append(f"{plural}: {_by_state(counts)}")
    tasks = data.get("tasks") or {}
    lines.append(
        f"Total Tasks: {tasks.get('total', 0)} ({tasks.get('in_progress', 0)} in progress)"
    )
    return lines + _attention(data) + _waiting(data) + _last_check(data)


def _by_state(counts: dict[str, int]) -> str:
    others = [
        f"{number} {status}"
        for status, number in counts.items()
        if number and status not in ("running", "stopped", "terminated")
    ]
    first = [f"{counts.get('running', 0)} active", f"{counts.get('stopped', 0)} stopped"]
    return ", ".join(first + others)


def _attention(data: dict[str, Any]) -> list[str]:
    attention = dict(data.get("attention") or {})
    total = attention.pop("total", None)
    parts = [f"{number} {key.replace('_', ' ')}" for key, number in attention.items() if number]
    lines = []
    if parts:
        total = sum(attention.values()) if total is None else total
        lines.append(f"Needs a person: {total} ({', '.join(parts)})")
    return lines


def _waiting(data: dict[str, Any]) -> list[str]:
    """Return the reasons of the unfinished tasks (R26), the most frequent first, three a line."""
    waiting = data.get("waiting") or {}
    most_first = sorted(waiting.items(), key=lambda pair: (-pair[1], pair[0]))
    parts = [f"{number} {code}" for code, number in most_first]
    lines = [", ".join(parts[at : at + 3]) for at in range(0, len(parts), 3)]
    return [f"{'Waiting on: ' if at == 0 else ' ' * 12}{line}" for at, line in enumerate(lines)]


def _last_check(data: dict[str, Any]) -> list[str]:
    last = data.get("last_check")
    if not last:
        return []
    at, broken = str(last["at"])[:16].replace("T", " "), last["broken"]
    if not broken:
        return [f"Last check: {at}, sound"]
    noun = "invariant" if len(broken) == 1 else "invariants"
    return [f"Last check: {at}, {len(broken)} {noun} broken ({', '.join(broken)})"]


def show_list(data: list[dict[str, Any]], args: Any, screen: Screen) -> None:
    """List instances, one a line."""
    columns: dict[str, Any] = {
        "ID": "id",
        "Name": "name",
        "Scope": "scope",
        "Type": "instance_type",
        "Status": state,
        "Parent": lambda row: row.get("parent_id") or "-",
        "Tasks": open_tasks,
    }
    screen.rows(data, columns, none="No instances.")


def show_instance(data: dict[str, Any], args: Any, screen: Screen) -> None:
    """Show everything about one instance."""
    screen.fields(
        [
            ("Instance", data["id"]),
            ("Name", data["name"]),
            ("Scope", data["scope"]),
            ("Type", data.get("instance_type")),
            ("Status", state(data)),
            ("Parent", data.get("parent_id") or "none (a root)"),
            ("Ancestors", " > ".join(data.get("ancestor_ids") or ())),
            ("Description", data.get("description")),
            ("Config", in_words(data.get("config") or {})),
            ("Tasks", in_words(data.get("task_counts") or {})),
            ("Created", f"{data.get('created_at')} by {data.get('created_by') or '-'}"),
            ("Started", data.get("started_at")),
            ("Stopped", data.get("stopped_at")),
            ("Expires", data.get("expires_at")),
        ]
    )


def show_created(data: dict[str, Any], args: Any, screen: Screen) -> None:
    """Show the new instance and its parent."""
    screen.done(f"Created instance: {data['id']}", data["id"])
    parent = data.get("parent_id")
    screen.remark(f"  {data['scope']} under {parent}" if parent else f"  {data['scope']}, a root")
    if args.start:
        screen.remark(f"✓ Status of {data['id']}: {state(data)}")
    else:
        screen.remark(f"  Next: hopper instance start {data['id']}")


def show_changed(data: list[dict[str, Any]], args: Any, screen: Screen) -> None:
    """Show the new status of each instance, or the preview of the action."""
    for row in data:
        if getattr(args, "preview", False):
            show_preview(row, args, screen)
        else:
            screen.done(f"Status of {row['id']}: {state(row)}", row["id"])


show_updated = told("Updated instance: {id}")


show_deleted = or_preview(told("Terminated instance: {id}"))
