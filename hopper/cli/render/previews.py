"""Previews as text: the changes of instances and tasks, counted and one by one."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from hopper.cli.render.screen import Screen

KINDS = ("instances", "tasks", "delegations", "attempts")


def show_preview(data: dict[str, Any], args: Any, screen: Screen) -> None:
    """Show the changes that an action would make, and that nothing was changed."""
    screen.line(f"{data.get('instance_id') or data.get('task_id')}, nothing changed yet:")
    if "live_leases" in data:
        screen.line(
            f"  now below it: live instances {data['live_children']}, "
            f"unfinished tasks {data['unfinished_tasks']}, live leases {data['live_leases']}"
        )
    if data.get("refused"):
        screen.line(f"  it would be refused: {data['refused']['detail']}")
        return
    counts = data.get("counts") or {}
    for kind in KINDS:
        if counts.get(kind):
            screen.line(f"  {kind}: {_counted(counts[kind])}")
    if counts.get("waiting_on"):
        screen.line(f"  waiting then: {_counted(counts['waiting_on'])}")
    lines = [*_instances(data), *_tasks(data)]
    screen.lines(lines or ["  it would change nothing"])
    if data.get("hidden"):
        screen.line(f"  and {data['hidden']} more that you may not see")


def or_preview(
    show: Callable[[dict[str, Any], Any, Screen], None],
) -> Callable[[dict[str, Any], Any, Screen], None]:
    """Return what shows the preview if --preview asked for it, else calls `show`."""
    return lambda data, args, screen: (show_preview if args.preview else show)(data, args, screen)


def _counted(counts: dict[str, int]) -> str:
    return ", ".join(f"{number} {_spoken(word)}" for word, number in counts.items())


def _instances(data: dict[str, Any]) -> Iterator[str]:
    for change in data.get("instances") or ():
        before, after = change["before"], change["after"]
        name = "status" if "status" in after else "effective_status"
        effectively = "" if name == "status" else "effectively "
        yield f"  {change['id']}: {effectively}{before[name]} → {after[name]}"


def _tasks(data: dict[str, Any]) -> Iterator[str]:
    for change in data.get("tasks") or ():
        words = ", ".join(_outcome(word, change["after"]) for word in change["what"])
        yield f"  {change['id']}  {words}  {change['title']}"


def _outcome(word: str, after: dict[str, Any]) -> str:
    if word == "moved":
        return f"moved to {after['instance_id']}"
    return f"waits ({after['waiting_on']})" if word == "waits" else _spoken(word)


def _spoken(word: str) -> str:
    return "to be placed" if word == "due" else word.replace("_", " ")
