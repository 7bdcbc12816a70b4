"""Reading the situation of a decision: task, holder and candidates, without locks (R9)."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING

from django.db.models import OuterRef, Q, Subquery

from delegation.delegation_history import DelegationHistory
from delegation.models import TaskDelegation
from hopper import database
from hopper.actors import ROUTER
from hopper.config.registry import effective_settings, setting_keys
from instances.allowances import Standing
from instances.models import HopperInstance, Task
from instances.models.instance import lineages
from instances.tree.reads import (
    capabilities_along,
    capabilities_below,
    stated_capabilities,
    waiting_and_unfinished,
)
from scopes.decisions import InstanceFacts, Situation, TaskFacts
from scopes.rules.matchers import MAX_TEXT

if TYPE_CHECKING:
    from collections.abc import Mapping

    from django.db.models import QuerySet

    from instances.models.instance import LineageRow

_AN_HOUR = timedelta(hours=1)


def facts_of(task: Task) -> TaskFacts:
    """Return the facts about a task for a behaviour."""
    return TaskFacts(
        id=task.pk,
        title=task.title,
        # Only the recorded facts: a decision from other facts could not be repeated.
        description=task.description[:MAX_TEXT],
        project=task.project,
        tags=tuple(task.tags),
        priority=task.priority,
        required_capabilities=tuple(task.required_capabilities),
        task_type=task.task_type,
        complexity=task.complexity,
        executor_preference=task.executor_preference,
        owner=task.owner,
        requester=task.requester,
        source=task.source,
    )


def situation_of(task: Task, holder: HopperInstance) -> Situation:
    """Return the situation of a decision about `task` at `holder`.

    The number of queries does not grow with the number of candidates.
    """
    return situation_for(facts_of(task), holder, DelegationHistory.of(task).barred)


def situation_for(task: TaskFacts, holder: HopperInstance, barred: Mapping[str, str]) -> Situation:
    """Return the situation of a decision, also for a task that does not exist yet.

    `barred` gives the reason code of each instance that R10 bars.
    """
    line = lineages([holder.pk])[holder.pk]
    rows = list(_loaded(Q(parent=holder) | Q(pk=holder.pk)))
    (own,) = (row for row in rows if row.pk == holder.pk)
    children = [row for row in rows if row is not own]
    live = [child for child in children if child.is_live]
    facts = _facts(own, live, line, with_subtrees=bool(task.required_capabilities))
    return Situation(
        task=task,
        instance=facts[holder.pk],
        candidates=tuple(
            replace(facts[child.pk], barred=barred.get(child.pk, "")) for child in live
        ),
        terminated_names=frozenset(
            word for child in children if not child.is_live for word in (child.pk, child.name)
        ),
        created_last_hour=sum(
            child.created_by_id == ROUTER.id and child.created_at > database.now() - _AN_HOUR
            for child in children
        ),
    )


def instance_facts(instance: HopperInstance, line: list[LineageRow] | None = None) -> InstanceFacts:
    """Return the facts about one instance for a behaviour that answers an offer (R8).

    `line` is its lineage, where the caller has just read it.
    """
    line = line or lineages([instance.pk])[instance.pk]
    own = _loaded(Q(pk=instance.pk)).get()
    return _facts(own, [], line, with_subtrees=False)[instance.pk]


def _facts(
    holder: HopperInstance,
    children: list[HopperInstance],
    line: list[LineageRow],
    *,
    with_subtrees: bool,
) -> dict[str, InstanceFacts]:
    own = capabilities_along(ancestor.config for ancestor in line)
    rows = [holder, *children]
    waiting, unfinished = waiting_and_unfinished(rows)
    below = capabilities_below(holder.pk, own) if with_subtrees else {}
    facts = {}
    for row in rows:
        stated = stated_capabilities(row.config)
        can = own if row is holder or stated is None else stated
        facts[row.pk] = InstanceFacts(
            id=row.pk,
            name=row.name,
            name_key=row.name_key,
            scope=row.scope,
            effective_status=Standing.along(line if row is holder else [*line, row]).effective,
            capabilities=can,
            subtree_capabilities=can | below.get(row.pk, frozenset()),
            domains=tuple(map(str, row.config.get("domains") or ())),
            settings=effective_settings(row.scope, row.config),
            own={key: row.config[key] for key in setting_keys() & row.config.keys()},
            queued=waiting.get(row.pk, 0),
            running=row.load.running,
            open_tasks=unfinished.get(row.pk, 0),
            last_assigned_at=row.last_assigned_at,  # type: ignore[attr-defined]
            started_at=row.started_at,
            level=len(line) + (row is not holder),
        )
    return facts


def _loaded(which: Q) -> QuerySet[HopperInstance]:
    """Return instances with their load and `last_assigned_at`, the time of their last offer."""
    offers = TaskDelegation.objects.filter(target_instance=OuterRef("pk"))
    latest = offers.order_by("-delegated_at").values("delegated_at")[:1]
    rows = HopperInstance.objects.select_related("load").filter(which)
    return rows.annotate(last_assigned_at=Subquery(latest)).order_by("pk")
