"""Questions about tasks and their rows: I1, I2, I10, I12, I13, I14, I19, I20."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from django.db.models import Count, Exists, F, Max, OuterRef, Q

from delegation.audit.extent import Breaches, Extent, rows_of, said, table
from delegation.models import TaskDelegation
from instances.choices import (
    TERMINAL,
    ChildFailure,
    Completion,
    FailurePolicy,
    InstanceStatus,
    TaskStatus,
    TaskStatus as T,
)
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
    yield from said(tasks.filter(~Exists(born)), "pk", "exists without an event of its creation")
    yield from said(
        tasks.exclude(status__in=TaskStatus.values),
        "pk",
        "is {status!r}, which is no status of a task",
    )
    holder = HopperInstance.objects.filter(pk=OuterRef("instance_id"))
    held = tasks.filter(instance_id__isnull=False).filter(~Exists(holder))
    yield from said(held, "pk", "is held by {instance_id}, which does not exist")


def held_by_the_dead(asked: Extent) -> Breaches:
    """I2: no unfinished task is held by a terminated instance."""
    dead = Task.objects.open().filter(instance__status=InstanceStatus.TERMINATED)
    for rows in (asked.tasks(dead), asked.instances(dead, "instance_id")):
        yield from said(rows, "pk", "is unfinished and held by {instance_id}, which is terminated")


def open_ends_of_the_finished(asked: Extent) -> Breaches:
    """I10: a terminal task has no open delegation, lease, or non-abandoned open child."""
    hops = TaskDelegation.objects.open().filter(task__status__in=TERMINAL)
    yield from said(asked.tasks(hops, "task"), "task_id", "has ended, but delegation {pk} is open")
    done = asked.tasks(Task.objects.filter(status__in=TERMINAL))
    leased = done.filter(Q(lease_seconds__isnull=False) | Q(offered_to__isnull=False))
    yield from said(leased, "pk", "has ended, but is still leased or offered")
    live = Attempt.objects.filter(outcome__isnull=True, task__status__in=TERMINAL)
    yield from said(
        asked.tasks(live, "task"), "task_id", "has ended, but its attempt {number} is open"
    )
    left = (
        Task.objects.open().filter(parent__status__in=TERMINAL).exclude(on_parent_close="abandon")
    )
    yield from said(
        asked.families(left, "parent"), "parent_id", "has ended, but its child {pk} is open"
    )


def times(asked: Extent) -> Breaches:
    """I14: times are ordered (offered <= accepted <= closed; created <= updated)."""
    tasks = asked.tasks(Task.objects.all())
    yield from said(
        tasks.filter(updated_at__lt=F("created_at")), "pk", "was updated before it was created"
    )
    yield from said(
        tasks.filter(finished_at__lt=F("created_at")), "pk", "was finished before it was created"
    )
    disordered = TaskDelegation.objects.filter(
        Q(accepted_at__lt=F("delegated_at"))
        | Q(completed_at__lt=F("delegated_at"))
        | Q(completed_at__lt=F("accepted_at"))
    )
    yield from said(
        asked.tasks(disordered, "task"), "pk", "was not offered, accepted and closed in this order"
    )
    turned = Attempt.objects.filter(ended_at__lt=F("started_at"))
    yield from said(
        asked.tasks(turned, "task"), "task_id", "attempt {number} ended before it began"
    )


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


def _differences(sql: str, parameters: Iterable[Any]) -> Breaches:
    """Yield the rows of the statement: an id, the present values, the values of the last event."""
    for pk, *values in rows_of(sql, parameters):
        half = len(values) // 2
        now, then = (", ".join(map(str, part)) for part in (values[:half], values[half:]))
        yield pk, f"is {now}, but its history ends with {then}"


def closed_by_children(asked: Extent) -> Breaches:
    """I12: a parent closed by aggregation agrees with R14 applied to its children."""
    endings = Event.objects.filter(
        task=OuterRef("pk"), epoch=OuterRef("epoch"), ending=True, data__aggregated=True
    )
    closed = Task.objects.filter(Exists(endings), status__in=TERMINAL, decomposed=True)
    judged_by = {
        policy: Count(
            "children", filter=Q(children__status=T.FAILED) & _judged_by(FailurePolicy(policy))
        )
        for policy in FailurePolicy.values
    }
    rows = (
        asked.families(closed)
        .order_by()
        .values("pk", "status", "completion", "failure_policy", "quorum")
        .annotate(done=Count("children", filter=Q(children__status=T.DONE)), **judged_by)
    )
    for row in rows:
        due = _due(row)
        if row["status"] != due:
            failed = sum(row[policy] for policy in FailurePolicy.values)
            yield (
                row["pk"],
                f"was closed {row['status']} by its children, of which {row['done']} are done and "
                f"{failed} failed: it should {f'be {due}' if due else 'not be closed'}",
            )


def _judged_by(policy: FailurePolicy) -> Q:
    """Return the condition for children whose failure is judged by this policy."""
    as_parent = Q(children__failure_means=ChildFailure.AS_PARENT, failure_policy=policy)
    return as_parent | Q(children__failure_means=policy)


def _due(parent: dict[str, Any]) -> str:
    """Return how R14 closes a parent of these children, "" if R14 leaves the parent open."""
    failing = {policy for policy in FailurePolicy.values if parent[policy]}
    if not (failing or parent["done"]):
        return ""
    hard = failing & {FailurePolicy.FAIL_FAST, FailurePolicy.WAIT_ALL}
    if hard or (FailurePolicy.BEST_EFFORT in failing and parent["done"] < parent["quorum"]):
        return T.FAILED
    resumes = FailurePolicy.RESUME in (parent["failure_policy"], *failing)
    return "" if resumes or parent["completion"] == Completion.RESUME else T.DONE


def waiting_for_children(asked: Extent) -> Breaches:
    """I13: a parent waiting on children has an open child."""
    waits = Task.objects.filter(status=T.IN_PROGRESS, decomposed=True)
    idle = waits.filter(~Exists(Task.objects.open().filter(parent=OuterRef("pk"))))
    yield from said(asked.families(idle), "pk", "waits for its children, of which none is open")


def one_end_each(asked: Extent) -> Breaches:
    """I19: exactly one event per terminal transition and per (task, epoch, instance)."""
    endings = Event.objects.filter(ending=True)
    told = endings.filter(task=OuterRef("pk"), epoch=OuterRef("epoch"), status=OuterRef("status"))
    ended = asked.tasks(Task.objects.filter(status__in=TERMINAL))
    yield from said(ended.filter(~Exists(told)), "pk", "is {status} without an event that says so")
    now = endings.filter(task=OuterRef("pk"), epoch=OuterRef("epoch"))
    premature = asked.tasks(Task.objects.open()).filter(Exists(now))
    yield from said(premature, "pk", "is {status}, but its end in this epoch was told")
    events = asked.tasks(Event.objects.filter(task__isnull=False), "task")
    before = endings.filter(task=OuterRef("task"), epoch=OuterRef("epoch") - 1)
    reopened = events.filter(kind="task.reopened").filter(~Exists(before))
    yield from said(
        reopened, "task_id", "was reopened in epoch {epoch}, but no event tells the end before"
    )
    yield from _ended_twice(events.filter(ending=True))
    yield from _missing_feeds(asked)


def _ended_twice(endings: Any) -> Breaches:
    """Yield tasks with two ends in one feed, or two ends of their own in one epoch."""
    feeds = endings.order_by().values("task_id", "epoch", "instance_id")
    for row in feeds.annotate(n=Count("pk")).filter(n__gt=1):
        yield row["task_id"], f"ended {row['n']} times in the feed of {row['instance_id']}"
    own = endings.exclude(data__has_key="bubbled").order_by()
    ends = own.values("task_id", "epoch").annotate(n=Count("pk"))
    for row in ends.filter(n__gt=1):
        yield row["task_id"], f"ended {row['n']} times in epoch {row['epoch']}"


def _missing_feeds(asked: Extent) -> Breaches:
    """Yield each instance on a finished task's path, or above, without the event of the end.

    The path lies between origin and holder, so the lines of both contain the path.
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
    # A move after the end changed the line; the event went to the old line.
    moved = set(told.filter(finished_at__lt=moves).values_list("pk", flat=True)) if moves else ()
    for task_id, place in missing:
        if task_id not in moved:
            yield task_id, f"has ended, but {place}, on its path or above, was not told"


QUESTIONS = (
    ("I1", "every task ever created exists and is terminal, held or unassigned", tasks_nowhere),
    ("I2", "no unfinished task is held by a terminated instance", held_by_the_dead),
    ("I10", "a terminal task leaves nothing open", open_ends_of_the_finished),
    ("I14", "times are ordered", times),
    ("I20", "the log replays to the present", history),
    ("I12", "a parent closed by its children agrees with them", closed_by_children),
    ("I13", "a parent that waits for children has an open one", waiting_for_children),
    ("I19", "every end is told exactly once", one_end_each),
)
