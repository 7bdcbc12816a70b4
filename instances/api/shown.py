"""Instances, tasks and leases as JSON, with derived values that are read once for a page."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

from django.db import connection

from hopper.database.rows import find
from hopper.rest.etags import Version
from hopper.rest.problem import problem
from hopper.rest.thread_serializers import as_json
from hopper.task_fields import EDIT, set_at
from instances.allowances import Standing
from instances.api.instance_serializers import InstanceSerializer
from instances.api.task_serializers import (
    REPORT,
    EventSerializer,
    LeaseSerializer,
    TaskSerializer,
)
from instances.models import (
    Attempt,
    Event,
    HopperInstance,
    Question,
    Task,
    TaskDependency,
    lineages,
)
from instances.tasks.batches import Verdict
from instances.tasks.complete_sql import Done
from instances.tasks.worker import Claim, Lease
from instances.tree.reads import as_counts, task_counts
from instances.waiting import waiting_on


def shown_instances(rows: Sequence[HopperInstance]) -> list[dict[str, Any]]:
    """Return instances as JSON, with two queries for the whole page."""
    ids = [row.pk for row in rows]
    lines = lineages(ids)
    counts = task_counts(ids)
    return as_json(
        InstanceSerializer,
        rows,
        effective={pk: Standing.along(line).effective for pk, line in lines.items()},
        ancestors={pk: [one.id for one in line[:-1]] for pk, line in lines.items()},
        counts={pk: as_counts(counts.get(pk, Counter())) for pk in ids},
    )


def shown_instance(instance_id: str) -> dict[str, Any]:
    """Return one instance as JSON, as it is now."""
    return shown_instances([HopperInstance.objects.get(pk=instance_id)])[0]


def task_context(rows: Sequence[Task]) -> dict[str, Any]:
    """Return the derived values for a page of tasks."""
    ids = [row.pk for row in rows]
    depends_on: dict[str, list[str]] = defaultdict(list)
    children: dict[str, Counter[str]] = defaultdict(Counter)
    for task_id, before, status, number in _relatives(ids):
        if before is not None:
            depends_on[task_id].append(before)
        else:
            children[task_id][status] = number
    return {
        "depends_on": depends_on,
        "children": {pk: as_counts(children[pk]) for pk in ids},
        "waiting": waiting_on(rows),
        "questions": Question.objects.of_tasks(rows),
    }


def _relatives(task_ids: Sequence[str]) -> list[tuple[str, str | None, str, int]]:
    """Return (task, predecessor, "", its place) and (task, None, status, number of children).

    By plain SQL: every answer with a task asks for its relatives, and the ORM takes longer.
    """
    if not task_ids:
        return []
    marks = ", ".join(["%s"] * len(task_ids))
    dependencies, tasks = TaskDependency._meta.db_table, Task._meta.db_table
    with connection.cursor() as cursor:
        cursor.execute(
            f"""SELECT task_id, depends_on_id, '', id FROM {dependencies} WHERE task_id IN ({marks})
            UNION ALL SELECT parent_id, NULL, status, count(*) FROM {tasks}
            WHERE parent_id IN ({marks}) GROUP BY parent_id, status ORDER BY 4""",  # noqa: S608
            [*task_ids, *task_ids],
        )
        found: list[tuple[str, str | None, str, int]] = cursor.fetchall()
        return found


def shown_tasks(rows: Sequence[Task]) -> list[dict[str, Any]]:
    """Return tasks as JSON, with a constant number of queries for the whole page."""
    return as_json(TaskSerializer, rows, **task_context(rows))


def shown_task(task_id: str) -> dict[str, Any]:
    """Return one task as JSON, as it is now."""
    return shown_now([task_id])[0]


def shown_whole_task(task_id: str) -> dict[str, Any]:
    """Return one task as JSON, with the last report of its worker."""
    attempts = Attempt.objects.filter(task=task_id).order_by("-number")
    report = attempts.values(*REPORT).first() or dict.fromkeys(REPORT)
    return {**shown_task(task_id), **report}


def shown_now(task_ids: Sequence[str]) -> list[dict[str, Any]]:
    """Return tasks as JSON, as they are now, in the order of these ids."""
    rows = {row.pk: row for row in find(Task, task_ids)}
    return shown_tasks([rows[pk] for pk in task_ids])


TASK_VERSION = Version(
    Task,
    shown_task,
    (
        *(field.name for field in set_at(EDIT)),
        *("status", "instance_id", "offered_to", "parent_id", "unique_key", "epoch", "attempt"),
        *("worker", "return_to", "result", "error", "discarded_at"),
    ),
)
INSTANCE_VERSION = Version(
    HopperInstance,
    shown_instance,
    ("name", "description", "config", "runtime_metadata", "expires_at", "parent_id", "status"),
)


def shown_events(
    rows: Sequence[Event], known: Collection[str] | None = None
) -> list[dict[str, Any]]:
    """Return events as JSON; no query. An offer to a target that is not `known` has no words."""
    shown = as_json(EventSerializer, rows)
    for event in shown:
        target = event["data"].get("to")
        if known is not None and target is not None and target not in known:
            event["data"] = {"to": None}
    return shown


def shown_claim(claim: Claim) -> dict[str, Any]:
    """Return the answer to a claim: each task with its lease, or why there is none."""
    tasks = shown_tasks([lease.task for lease in claim.leases])
    for task, lease in zip(tasks, claim.leases, strict=True):
        task["lease"] = shown_lease(lease)
    return {"tasks": tasks, "waiting": claim.waiting}


def shown_lease(lease: Lease) -> dict[str, Any]:
    """Return a lease with its token, for the worker that claimed it only."""
    return as_json(LeaseSerializer, [lease])[0]


def reports_of(bodies: Iterable[Mapping[str, Any]]) -> list[Done]:
    """Return the reports that the bodies of a batch make."""
    return [Done(one["id"], one.get("token"), one.get("result")) for one in bodies]


def shown_verdict(verdict: Verdict) -> dict[str, Any]:
    """Return the answer to one of many reports."""
    no = verdict.refusal
    refusal = problem(no.status, no.code, no.detail, no.errors, no.extra) if no else None
    return {"id": verdict.task_id, "status": verdict.status, "problem": refusal}
