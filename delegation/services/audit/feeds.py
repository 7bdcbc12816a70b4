"""The question whether every end is told exactly once, to everybody: I19."""

from __future__ import annotations

from django.db.models import Count, Exists, Max, OuterRef

from delegation.services.audit.extent import Breaches, Extent, rows_of, table
from instances.choices import TERMINAL
from instances.models import Event, HopperInstance, Task


def one_end_each(asked: Extent) -> Breaches:
    """I19: exactly one event per terminal transition and per (task, epoch, instance)."""
    endings = Event.objects.filter(ending=True)
    told = endings.filter(task=OuterRef("pk"), epoch=OuterRef("epoch"), status=OuterRef("status"))
    ended = asked.tasks(Task.objects.filter(status__in=TERMINAL))
    for pk, status in ended.filter(~Exists(told)).values_list("pk", "status"):
        yield pk, f"is {status} without an event that says so"
    now = endings.filter(task=OuterRef("pk"), epoch=OuterRef("epoch"))
    premature = asked.tasks(Task.objects.open()).filter(Exists(now))
    for pk, status in premature.values_list("pk", "status"):
        yield pk, f"is {status}, but its end in this epoch was told"
    events = asked.tasks(Event.objects.filter(task__isnull=False), "task")
    before = endings.filter(task=OuterRef("task"), epoch=OuterRef("epoch") - 1)
    reopened = events.filter(kind="task.reopened").filter(~Exists(before))
    for pk, epoch in reopened.values_list("task_id", "epoch"):
        yield pk, f"was reopened in epoch {epoch}, but no event tells the end before"
    yield from _told_twice(events.filter(ending=True))
    yield from _deaf(asked)


def _told_twice(endings: object) -> Breaches:
    feeds = endings.order_by().values("task_id", "epoch", "instance_id")  # type: ignore[attr-defined]
    for row in feeds.annotate(n=Count("pk")).filter(n__gt=1):
        yield row["task_id"], f"ended {row['n']} times in the feed of {row['instance_id']}"
    own = endings.exclude(data__has_key="bubbled").order_by()  # type: ignore[attr-defined]
    ends = own.values("task_id", "epoch").annotate(n=Count("pk"))
    for row in ends.filter(n__gt=1):
        yield row["task_id"], f"ended {row['n']} times in epoch {row['epoch']}"


def _deaf(asked: Extent) -> Breaches:
    """Yield each instance on a finished task's path, or above it, that was not told.

    The path lies between the task's origin and its holder, so their lines hold all of it.
    """
    tasks, events, instances = table(Task), table(Event), table(HopperInstance)
    narrowed, parameters = asked.sql("t.id")
    ended = ", ".join(f"'{status}'" for status in TERMINAL)
    missing = rows_of(
        f"""
        WITH RECURSIVE line (start, place) AS (
            SELECT id, id FROM {instances}
            UNION
            SELECT l.start, i.parent_id FROM line l JOIN {instances} i ON i.id = l.place
            WHERE i.parent_id IS NOT NULL)
        SELECT DISTINCT t.id, l.place FROM (
            SELECT t.id, t.epoch, t.instance_id AS start FROM {tasks} t
            WHERE t.status IN ({ended}) AND {narrowed}
            UNION
            SELECT t.id, t.epoch, t.origin_id FROM {tasks} t
            WHERE t.status IN ({ended}) AND {narrowed}) t
        JOIN line l ON l.start = t.start
        WHERE NOT EXISTS (
            SELECT 1 FROM {events} e
            WHERE e.task_id = t.id AND e.epoch = t.epoch AND e.ending AND e.instance_id = l.place)
        """,  # noqa: S608 - names of tables and statuses only
        [*parameters, *parameters],
    )
    if not missing:
        return
    moves = Event.objects.filter(kind="instance.moved").aggregate(at=Max("at"))["at"]
    told = Task.objects.filter(pk__in={task_id for task_id, _ in missing})
    # A line that was moved after the end is not the line that was told.
    moved = set(told.filter(finished_at__lt=moves).values_list("pk", flat=True)) if moves else ()
    for task_id, place in missing:
        if task_id not in moved:
            yield task_id, f"has ended, but {place}, on its path or above, was not told"


QUESTIONS = (("I19", "every end is told exactly once", one_end_each),)
