"""Questions about trees and graphs: I16 and the soundness of the instance tree, I20, I21, I22."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import timedelta

from django.utils import timezone

from instances.choices import InstanceStatus, InstanceType
from instances.models import Event, HopperInstance, Task, TaskDependency
from instances.tree_audit import unsound_places

Breaches = Iterator[tuple[str, str]]

_TWO_SWEEPS = timedelta(seconds=20)


def acyclic() -> Breaches:
    """I16: the trees and the dependency graph are acyclic, and the tree numbers sound."""
    parents = HopperInstance.objects.filter(parent__isnull=False).values_list("pk", "parent_id")
    yield from _cycles(_edges(parents), "is its own ancestor")
    children = Task.objects.filter(parent__isnull=False).values_list("pk", "parent_id")
    yield from _cycles(_edges(children), "is its own ancestor")
    before = TaskDependency.objects.values_list("task_id", "depends_on_id")
    yield from _cycles(_edges(before), "waits for itself")
    yield from unsound_places()


def history() -> Breaches:
    """I20: the log replays to each task's status, holder and attempt, each instance's status."""
    last: dict[str, tuple[str, str, int | None]] = {}
    events = Event.objects.filter(task__isnull=False).order_by("id")
    for task_id, status, holder, attempt in events.values_list(
        "task_id", "status", "holder_id", "attempt"
    ).iterator():
        last[task_id] = (status, holder, attempt)
    for pk, status, holder, attempt in Task.objects.values_list(
        "pk", "status", "instance_id", "attempt"
    ).iterator():
        now = (status, holder or "", attempt)
        if last.get(pk) != now:
            yield pk, f"is {now}, but its history ends with {last.get(pk)}"
    lives: dict[str, str] = {}
    changes = Event.objects.filter(task__isnull=True, kind__startswith="instance.")
    for pk, status in changes.order_by("id").values_list("instance_id", "status").iterator():
        lives[str(pk)] = status
    for pk, status in HopperInstance.objects.values_list("pk", "status"):
        if lives.get(pk) != status:
            yield pk, f"is {status}, but its history ends with {lives.get(pk)}"


def nothing_left_due() -> Breaches:
    """I21: no task is due for placing longer than two sweeps while its holder may route."""
    late = Task.objects.filter(
        route_due=True, updated_at__lt=timezone.now() - _TWO_SWEEPS
    ).select_related("instance")
    for task in late:
        if task.instance and task.instance.effective_status() == InstanceStatus.RUNNING:
            yield task.pk, f"has been due for placing at {task.instance_id} since {task.updated_at}"


def closed_runs() -> Breaches:
    """I22: an EPHEMERAL instance is not terminated with open work below it."""
    ended = HopperInstance.objects.filter(
        instance_type=InstanceType.EPHEMERAL, status=InstanceStatus.TERMINATED
    )
    for pk in ended.values_list("pk", flat=True):
        if Task.objects.open().in_subtree(pk).exists():
            yield pk, "is terminated with open work below it"


def _edges(pairs: object) -> Mapping[str, list[str]]:
    edges: dict[str, list[str]] = {}
    for start, end in pairs:  # type: ignore[attr-defined]
        edges.setdefault(start, []).append(end)
    return edges


def _cycles(edges: Mapping[str, list[str]], detail: str) -> Breaches:
    """Yield every node that lies on a cycle: what remains when leaves are taken off in turn."""
    remaining = {start: set(ends) for start, ends in edges.items()}
    while True:
        free = [start for start, ends in remaining.items() if not ends & remaining.keys()]
        if not free:
            break
        for start in free:
            del remaining[start]
    for start in sorted(remaining):
        yield start, detail


QUESTIONS = (
    ("I16", "trees and dependencies are acyclic, tree numbers sound", acyclic),
    ("I20", "the log replays to the present", history),
    ("I21", "nothing stays due for placing", nothing_left_due),
    ("I22", "a run is not terminated over open work", closed_runs),
)
