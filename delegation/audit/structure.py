"""Questions about trees, graphs and pointers: I16, I22 and I25."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from django.db.models import Exists, F, OuterRef, Q

from delegation.audit.extent import Breaches, Extent, said
from instances.choices import TERMINAL, InstanceStatus, InstanceType
from instances.models import Attempt, HopperInstance, Task, TaskDependency, lineages
from instances.tree.numbers import unlawful_places, unsound_places


def acyclic(asked: Extent) -> Breaches:
    """I16: trees and waits have no cycle, and instances stand where R1 allows."""
    if asked.whole or asked.events().filter(task__isnull=True).exists():
        parents = HopperInstance.objects.filter(parent__isnull=False).values_list("pk", "parent_id")
        yield from _cycles(parents, "is its own ancestor")
        yield from unsound_places()
        yield from unlawful_places()
    children = Task.objects.filter(parent__isnull=False)
    yield from _cycles(_edges(asked, (children, "pk", "parent_id")), "is its own ancestor")
    order = (TaskDependency.objects.all(), "task_id", "depends_on_id")
    # A parent also waits, for its open children.
    waits = (children.exclude(status__in=TERMINAL), "parent_id", "pk")
    yield from _cycles(_edges(asked, order, waits), "waits for itself")
    tasks = asked.families(Task.objects.all())
    astray = tasks.filter(
        Q(parent__isnull=True) & ~Q(root=F("pk"))
        | Q(parent__isnull=False) & ~Q(root=F("parent__root"))
    )
    yield from said(astray, "pk", "counts {root_id} as the root of its tree, which is another")


def _edges(asked: Extent, *kinds: tuple[Any, str, str]) -> list[tuple[str, str]]:
    """Return the edges from changed rows, and all edges reachable from them.

    Without a limit of the extent, returns all edges. A kind of edges is a queryset with the
    columns of the start and the end of an edge.
    """
    found = [
        edge
        for rows, start, end in kinds
        for edge in asked.tasks(rows, start).order_by().values_list(start, end)
    ]
    if asked.whole:
        return found
    seen = {pk for pk, _ in found}
    frontier = {pk for _, pk in found} - seen
    while frontier:
        more = [
            edge
            for rows, start, end in kinds
            for edge in rows.filter(**{f"{start}__in": frontier}).values_list(start, end)
        ]
        found += more
        seen |= frontier
        frontier = {pk for _, pk in more} - seen
    return found


def closed_runs(asked: Extent) -> Breaches:
    """I22: an EPHEMERAL instance is not terminated with open work below it."""
    ended = HopperInstance.objects.filter(
        instance_type=InstanceType.EPHEMERAL, status=InstanceStatus.TERMINATED
    )
    if not ended.exists():
        return
    busy = asked.tasks(Task.objects.open().filter(instance__isnull=False)).order_by()
    holders = set(busy.values_list("instance_id", flat=True).distinct())
    if not asked.whole:
        holders |= set(
            asked.instances(
                HopperInstance.objects.filter(tasks__in=Task.objects.open())
            ).values_list("pk", flat=True)
        )
    closed = set(ended.values_list("pk", flat=True))
    for holder, line in sorted(lineages(holders).items()):
        # I2 covers tasks that a terminated instance itself holds.
        for ancestor in line[:-1]:
            if ancestor.id in closed:
                yield ancestor.id, f"is terminated, with open work at {holder} below it"


def known_objects(asked: Extent) -> Breaches:
    """I25: events and attempts name instances and tasks that exist.

    On PostgreSQL no foreign key checks this. I1 finds the events of a task that does not exist.
    """
    attempts = asked.tasks(Attempt.objects.all(), "task")
    for rows, column, model, words in (
        (asked.events(), "instance_id", HopperInstance, "event"),
        (attempts, "instance_id", HopperInstance, "attempt"),
        (attempts, "task_id", Task, "attempt"),
    ):
        there = Exists(model._default_manager.filter(pk=OuterRef(column)))
        lost = rows.filter(~there, **{f"{column}__isnull": False}).order_by()
        yield from said(lost, column, f"is named by {words} {{pk}} and does not exist")


def _cycles(pairs: Iterable[tuple[str, str]], detail: str) -> Breaches:
    """Yield every node on a cycle or leading to one: the rest after removing leaves repeatedly."""
    edges: dict[str, set[str]] = {}
    for start, end in pairs:
        edges.setdefault(start, set()).add(end)
    for start in sorted(_remaining(edges)):
        yield start, detail


def _remaining(edges: Mapping[str, set[str]]) -> set[str]:
    inward: dict[str, list[str]] = {}
    for start, ends in edges.items():
        for end in ends:
            inward.setdefault(end, []).append(start)
    left = {start: len(ends) for start, ends in edges.items()}
    free = [end for end in inward if end not in edges]
    while free:
        for start in inward.get(free.pop(), ()):
            left[start] -= 1
            if not left[start]:
                del left[start]
                free.append(start)
    return set(left)


QUESTIONS = (
    ("I16", "trees and dependencies are acyclic, tree numbers sound", acyclic),
    ("I22", "a run is not terminated over open work", closed_runs),
    ("I25", "the history names instances and tasks that exist", known_objects),
)
