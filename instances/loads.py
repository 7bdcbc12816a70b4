"""How busy instances are and what they can do; the number of queries is constant."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, Any

from django.db.models import Count

from instances.choices import HopperScope as S
from instances.choices import InstanceStatus, TaskStatus
from instances.models import HopperInstance, InstanceLoad, Task

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

_DISABLED = (InstanceStatus.STOPPING, InstanceStatus.STOPPED, InstanceStatus.ERROR)


def waiting_at(instance_ids: Iterable[str]) -> dict[str, int]:
    """Return, by instance, how many tasks wait there (R22's queue)."""
    rows = Task.objects.filter(instance__in=list(instance_ids), status=TaskStatus.PENDING)
    return dict(rows.order_by().values_list("instance_id").annotate(Count("pk")))


def running_at(instance_ids: Iterable[str]) -> dict[str, int]:
    """Return, by instance, how many live leases it has."""
    return dict(InstanceLoad.objects.filter(pk__in=list(instance_ids)).values_list("pk", "running"))


def unfinished_below(instance_ids: Iterable[str]) -> dict[str, int]:
    """Return, by instance, how many unfinished tasks it and everything below it hold."""
    wanted = HopperInstance.objects.filter(pk__in=list(instance_ids))
    bounds = list(wanted.values_list("pk", "tree_id", "lft", "rght"))
    if not bounds:
        return {}
    rows = Task.objects.open().filter(
        instance__tree_id__in={tree for _, tree, _, _ in bounds},
        instance__lft__range=(min(one[2] for one in bounds), max(one[3] for one in bounds)),
    )
    grouped = rows.order_by().values_list("instance__tree_id", "instance__lft")
    totals: dict[str, int] = defaultdict(int)
    for tree_id, place, count in grouped.annotate(Count("pk")):
        for pk, tree, left, right in bounds:
            if tree == tree_id and left <= place <= right:
                totals[pk] += count
    return dict(totals)


def stated_capabilities(config: Mapping[str, Any]) -> frozenset[str] | None:
    """Return the capabilities that an instance states itself, or None where it inherits them."""
    stated = config.get("capabilities")
    return frozenset(map(str, stated)) if isinstance(stated, list) else None


def capabilities_along(configs: Iterable[Mapping[str, Any]]) -> frozenset[str]:
    """Return the capabilities in force at the end of a line of configs: the nearest stated ones."""
    found: frozenset[str] = frozenset()
    for config in configs:
        stated = stated_capabilities(config)
        found = found if stated is None else stated
    return found


def capabilities_below(instance_id: str, own: frozenset[str]) -> dict[str, frozenset[str]]:
    """Return, for an instance and all below it, what can be done further down where placing leads.

    It leads to neither phases of a run nor remotes (R1), nor to what is stopped or in error. `own`
    is what the instance itself can do. One query.
    """
    rows = HopperInstance.objects.under(instance_id).live().exclude(status__in=_DISABLED)
    rows = rows.exclude(scope=S.FEDERATED).exclude(parent__scope=S.ORCHESTRATION)
    can: dict[str, frozenset[str]] = {instance_id: own}
    parents: dict[str, str] = {}
    below: dict[str, set[str]] = defaultdict(set)
    for pk, parent_id, config in rows.order_by("lft").values_list("pk", "parent_id", "config"):
        if pk == instance_id or parent_id not in can:
            continue
        parents[pk] = parent_id
        stated = stated_capabilities(config)
        can[pk] = can[parent_id] if stated is None else stated
        above: str | None = parent_id
        while above is not None:
            below[above] |= can[pk]
            above = parents.get(above)
    return {pk: frozenset(words) for pk, words in below.items()}
