"""Questions about tasks and what belongs to them: I1, I2, I10, I14, I20."""

from __future__ import annotations

from django.db.models import Exists, F, OuterRef, Q

from delegation.models import TaskDelegation
from delegation.services.audit.extent import Breaches, Extent, rows_of, table
from instances.choices import TERMINAL, InstanceStatus, TaskStatus
from instances.models import Attempt, Event, HopperInstance, Task


def tasks_nowhere(asked: Extent) -> Breaches:
    """I1: every task ever created exists and is terminal, held by one instance, or unassigned."""
    exists = Task.objects.filter(pk=OuterRef("task_id"))
    for kept in (Event, TaskDelegation, Attempt):
        traces = asked.tasks(kept._default_manager.filter(task__isnull=False), "task_id")
        lost = traces.filter(~Exists(exists)).order_by().values_list("task_id", flat=True)
        for pk in lost.distinct():
            yield pk, f"is gone, but there is still a {kept._meta.verbose_name} of it"
    tasks = asked.tasks(Task.objects.all())
    born = Event.objects.filter(task=OuterRef("pk"), kind="task.created")
    for pk in tasks.filter(~Exists(born)).values_list("pk", flat=True):
        yield pk, "exists without an event of its creation"
    for pk, status in tasks.exclude(status__in=TaskStatus.values).values_list("pk", "status"):
        yield pk, f"is {status!r}, which is no status of a task"
    holder = HopperInstance.objects.filter(pk=OuterRef("instance_id"))
    held = tasks.filter(instance_id__isnull=False).filter(~Exists(holder))
    for pk, instance_id in held.values_list("pk", "instance_id"):
        yield pk, f"is held by {instance_id}, which does not exist"


def held_by_the_dead(asked: Extent) -> Breaches:
    """I2: no unfinished task is held by a terminated instance."""
    dead = Task.objects.open().filter(instance__status=InstanceStatus.TERMINATED)
    for rows in (asked.tasks(dead), asked.instances(dead, "instance_id")):
        for pk, holder in rows.values_list("pk", "instance_id"):
            yield pk, f"is unfinished and held by {holder}, which is terminated"


def open_ends_of_the_finished(asked: Extent) -> Breaches:
    """I10: a terminal task has no open delegation, lease, or non-abandoned open child."""
    hops = TaskDelegation.objects.open().filter(task__status__in=TERMINAL)
    for row, task_id in asked.tasks(hops, "task").values_list("pk", "task_id"):
        yield task_id, f"has ended, but delegation {row} is open"
    done = asked.tasks(Task.objects.filter(status__in=TERMINAL))
    leased = done.filter(Q(lease_token__isnull=False) | Q(offered_to__isnull=False))
    for pk in leased.values_list("pk", flat=True):
        yield pk, "has ended, but is still leased or offered"
    live = Attempt.objects.filter(outcome__isnull=True, task__status__in=TERMINAL)
    for pk, number in asked.tasks(live, "task").values_list("task_id", "number"):
        yield pk, f"has ended, but its attempt {number} is open"
    left = (
        Task.objects.open().filter(parent__status__in=TERMINAL).exclude(on_parent_close="abandon")
    )
    for pk, child in asked.families(left, "parent").values_list("parent_id", "pk"):
        yield pk, f"has ended, but its child {child} is open"


def times(asked: Extent) -> Breaches:
    """I14: times are ordered (offered <= accepted <= closed; created <= updated)."""
    tasks = asked.tasks(Task.objects.all())
    for pk in tasks.filter(updated_at__lt=F("created_at")).values_list("pk", flat=True):
        yield pk, "was updated before it was created"
    for pk in tasks.filter(finished_at__lt=F("created_at")).values_list("pk", flat=True):
        yield pk, "was finished before it was created"
    disordered = TaskDelegation.objects.filter(
        Q(accepted_at__lt=F("delegated_at"))
        | Q(completed_at__lt=F("delegated_at"))
        | Q(completed_at__lt=F("accepted_at"))
    )
    for pk in asked.tasks(disordered, "task").values_list("pk", flat=True):
        yield pk, "was not offered, accepted and closed in this order"
    turned = Attempt.objects.filter(ended_at__lt=F("started_at"))
    for pk, number in asked.tasks(turned, "task").values_list("task_id", "number"):
        yield pk, f"attempt {number} ended before it began"


def history(asked: Extent) -> Breaches:
    """I20: the log replays to each task's status, holder and attempt, each instance's status."""
    events, tasks, instances = table(Event), table(Task), table(HopperInstance)
    narrowed, parameters = asked.sql("t.id")
    yield from _differences(
        f"""
        SELECT t.id, t.status, COALESCE(t.instance_id, ''), t.attempt,
               e.status, e.holder_id, e.attempt
        FROM {tasks} t
        LEFT JOIN {events} e ON e.id = (SELECT MAX(id) FROM {events} WHERE task_id = t.id)
        WHERE {narrowed} AND (e.id IS NULL OR e.status <> t.status OR e.attempt <> t.attempt
              OR e.holder_id <> COALESCE(t.instance_id, ''))
        """,  # noqa: S608 - table names only
        parameters,
    )
    narrowed, parameters = asked.sql("i.id", of="instance_id")
    yield from _differences(
        f"""
        SELECT i.id, i.status, e.status FROM {instances} i
        LEFT JOIN {events} e ON e.id = (
            SELECT MAX(id) FROM {events}
            WHERE instance_id = i.id AND task_id IS NULL AND kind LIKE 'instance.%%')
        WHERE {narrowed} AND (e.id IS NULL OR e.status <> i.status)
        """,  # noqa: S608
        parameters,
    )
    narrowed, parameters = asked.sql("task_id")
    steps = rows_of(
        f"""
        SELECT task_id, id, was, before FROM (
            SELECT task_id, id, before,
                   LAG(status) OVER (PARTITION BY task_id ORDER BY id) AS was
            FROM {events} WHERE task_id IS NOT NULL AND {narrowed}) step
        WHERE before <> '' AND was <> before
        """,  # noqa: S608
        parameters,
    )
    for pk, event_id, was, before in steps:
        yield pk, f"was {was} when event {event_id} found it {before}"


def _differences(sql: str, parameters: object) -> Breaches:
    """Yield what the statement found: an id, the present values, those of the last event."""
    for pk, *values in rows_of(sql, parameters):  # type: ignore[arg-type]
        half = len(values) // 2
        now, then = (", ".join(map(str, part)) for part in (values[:half], values[half:]))
        yield pk, f"is {now}, but its history ends with {then}"


QUESTIONS = (
    ("I1", "every task ever created exists and is terminal, held or unassigned", tasks_nowhere),
    ("I2", "no unfinished task is held by a terminated instance", held_by_the_dead),
    ("I10", "a terminal task leaves nothing open", open_ends_of_the_finished),
    ("I14", "times are ordered", times),
    ("I20", "the log replays to the present", history),
)
