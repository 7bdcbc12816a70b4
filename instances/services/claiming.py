"""Picking the next tasks: one statement marks them, so that nobody gets one twice (R21)."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from django.db import connection
from django.db.models import F, QuerySet

from instances.choices import TaskStatus as T
from instances.models import InstanceLoad, Task

if TYPE_CHECKING:
    from collections.abc import Sequence


_NO_KEY = "\n"
"""A capability key that no task has; a list of none would not compile to a statement."""


@dataclass(frozen=True)
class Wish:
    """What a worker asks for. `capabilities` None means that it takes any work."""

    instance_id: str
    worker: str
    holder: str
    limit: int
    lease_seconds: int
    capabilities: Sequence[str] | None = None
    tags: Sequence[str] | None = None


def pick_tasks(wish: Wish, secret: str, now: datetime) -> list[Task]:
    """Mark up to `limit` of the next claimable tasks as claimed and return them, in queue order."""
    free = fitting(wish, now).select_for_update(skip_locked=True, no_key=True, of=("self",))
    picked = free.order_by("-queue_urgent", "queue_at", "id").values("pk")[: wish.limit]
    pick_sql, pick_params = picked.query.sql_with_params()
    quote = connection.ops.quote_name
    table = quote(Task._meta.db_table)
    columns = ", ".join(quote(str(field.column)) for field in Task._meta.concrete_fields)
    marked = Task.objects.raw(
        f"""
        WITH pick (picked) AS MATERIALIZED ({pick_sql})
        UPDATE {table} SET status = %s, attempt = attempt + 1, worker = %s,
            lease_token = (attempt + 1) || '.' || %s, lease_holder = %s, lease_seconds = %s,
            lease_expires_at = %s, retry_at = NULL, waiting = '{{}}', updated_at = %s
        FROM pick WHERE id = picked RETURNING {columns}
        """,  # noqa: S608
        [
            *pick_params,
            T.CLAIMED,
            wish.worker,
            secret,
            wish.holder,
            wish.lease_seconds,
            now + timedelta(seconds=wish.lease_seconds),
            now,
        ],
    )
    return sorted(marked, key=lambda task: (not task.queue_urgent, task.queue_at, task.pk))


def fitting(wish: Wish, now: datetime) -> QuerySet[Task]:
    """Return the claimable tasks of the instance that fit the worker."""
    tasks = Task.objects.claimable(now).filter(instance_id=wish.instance_id)
    if wish.capabilities is not None:
        keys = _keys_within(wish.instance_id, set(wish.capabilities))
        tasks = tasks.filter(cap_key__in=keys or [_NO_KEY])
    if wish.tags:
        tasks = tasks.filter(tags__has_any_word=list(wish.tags))
    return tasks


def take_places(instance_id: str, count: int, limit: int) -> bool:
    """Raise the counter by `count` unless that passes `limit`; return whether it did (R22)."""
    load = InstanceLoad.objects.filter(pk=instance_id, running__lte=limit - count)
    return bool(load.update(running=F("running") + count))


def free_places(instance_id: str, limit: int) -> int:
    """Return how many leases the instance may still grant, as read now."""
    running = InstanceLoad.objects.values_list("running", flat=True).get(pk=instance_id)
    return max(0, limit - int(running))


def why_nothing(wish: Wish, now: datetime) -> dict[str, str]:
    """Return the reason why a claim came back empty: {code, detail} (R22)."""
    waiting = Task.objects.filter(instance_id=wish.instance_id, status=T.PENDING)
    if Task.objects.claimable(now).filter(instance_id=wish.instance_id).exists():
        return {"code": "NothingFits", "detail": "tasks are ready, but none fits this worker"}
    count = waiting.count()
    if count:
        return {
            "code": "NothingReady",
            "detail": f"{count} task(s) wait here, none of them ready to be claimed",
        }
    return {"code": "Empty", "detail": "the queue is empty"}


def _keys_within(instance_id: str, capabilities: set[str]) -> list[str]:
    """Return the capability keys present in the queue that a worker's capabilities cover."""
    waiting = Task.objects.filter(instance_id=instance_id, status=T.PENDING)
    keys = waiting.order_by().values_list("cap_key", flat=True).distinct()
    return [key for key in keys if set(filter(None, key.split("\n"))) <= capabilities]
