"""Retention: which families of tasks are old, by the setting `retention_days` of their holders."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime, timedelta

from instances.choices import TERMINAL
from instances.models import HopperInstance, Task, TaskDependency
from instances.queue_settings import queue_settings

FAMILIES_AT_ONCE = 500
"""The most families that are judged together."""


class Retention:
    """The moments before which ended tasks are old, by their holder, as seen at one time.

    A task without an instance has the setting of the scope GLOBAL.
    """

    def __init__(self, now: datetime) -> None:
        places = HopperInstance.objects.order_by().values_list("pk", "scope", "config")
        days: dict[str | None, int | None] = {
            pk: queue_settings(scope, config).retention_days for pk, scope, config in places
        }
        days[None] = queue_settings("GLOBAL", {}).retention_days
        self.before = {pk: now - timedelta(days=n) for pk, n in days.items() if n is not None}

    def old_families(self, root_ids: Collection[str]) -> list[str]:
        """Return the roots, in order, of which the whole family and all its dependants are old."""
        tasks = Task.objects.filter(root__in=root_ids).order_by()
        edges = TaskDependency.objects.filter(depends_on__root__in=root_ids).order_by()
        columns = ("status", "instance_id", "finished_at")
        members = tasks.values_list("root_id", *columns)
        dependants = edges.values_list("depends_on__root_id", *(f"task__{one}" for one in columns))
        young = {root for root, *row in (*members, *dependants) if not self._is_old(*row)}
        return sorted(set(root_ids) - young)

    def _is_old(self, status: str, holder: str | None, finished_at: datetime | None) -> bool:
        before = self.before.get(holder)
        if before is None or finished_at is None:
            return False
        return status in TERMINAL and finished_at < before


def families_after(root_id: str) -> list[str]:
    """Return the roots of the next families, in the order of their ids; none at the end."""
    roots = Task.objects.filter(parent__isnull=True, pk__gt=root_id).order_by("pk")
    return list(roots.values_list("pk", flat=True)[:FAMILIES_AT_ONCE])
