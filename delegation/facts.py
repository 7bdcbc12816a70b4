"""Reading the situation of a decision: task, holder and candidates, without locks (R9)."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING

from django.db.models import OuterRef, Subquery

from delegation.choices import DelegationStatus as D
from delegation.choices import DelegationType
from delegation.models import TaskDelegation
from hopper import database
from hopper.actors import ROUTER
from hopper.config.settings import effective_settings, setting_keys
from instances.allowances import Standing
from instances.models import HopperInstance, Task
from instances.models.instance import lineages
from instances.tree.reads import (
    capabilities_along,
    capabilities_below,
    running_at,
    stated_capabilities,
    unfinished_below,
    waiting_at,
)
from scopes.decisions import InstanceFacts, Situation, TaskFacts
from scopes.rules.matchers import MAX_TEXT

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

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
    return situation_for(facts_of(task), holder, barred_for(task))


def situation_for(task: TaskFacts, holder: HopperInstance, barred: Mapping[str, str]) -> Situation:
    """Return the situation of a decision, also for a task that does not exist yet.

    `barred` gives the reason code of each instance that R10 bars.
    """
    children = list(HopperInstance.objects.filter(parent=holder).order_by("pk"))
    live = [child for child in children if child.is_live]
    facts = _facts(holder, live, with_subtrees=bool(task.required_capabilities))
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


def instance_facts(instance: HopperInstance) -> InstanceFacts:
    """Return the facts about one instance for a behaviour that answers an offer (R8)."""
    return _facts(instance, [], with_subtrees=False)[instance.pk]


def barred_for(task: Task) -> dict[str, str]:
    """Return the instances that R10 bars for a task in this epoch, with the reason code.

    `excluded` may be overridden by an operator, `on_path` never.
    """
    rows = TaskDelegation.objects.filter(task=task, epoch=task.epoch)
    refusers = rows.filter(status__in=(D.REJECTED, D.EXPIRED)).values_list("target_instance_id")
    givers = rows.filter(delegation_type=DelegationType.ESCALATE).values_list("source_instance_id")
    barred = {pk: "excluded" for (pk,) in refusers.union(givers)}
    for ends in TaskDelegation.objects.chain(task.pk).values_list(
        "source_instance_id", "target_instance_id"
    ):
        barred |= dict.fromkeys(map(str, ends), "on_path")
    return barred


def _facts(
    holder: HopperInstance, children: list[HopperInstance], *, with_subtrees: bool
) -> dict[str, InstanceFacts]:
    line = lineages([holder.pk])[holder.pk]
    own = capabilities_along(ancestor.config for ancestor in line)
    rows = [holder, *children]
    ids = [row.pk for row in rows]
    waiting, running, unfinished = waiting_at(ids), running_at(ids), unfinished_below(ids)
    assigned = _last_assigned(ids)
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
            running=running.get(row.pk, 0),
            open_tasks=unfinished.get(row.pk, 0),
            last_assigned_at=assigned.get(row.pk),
            started_at=row.started_at,
            level=len(line) + (row is not holder),
        )
    return facts


def _last_assigned(ids: list[str]) -> dict[str, datetime]:
    """Return the time of the last offer to each instance, by one index look-up for each."""
    offers = TaskDelegation.objects.filter(target_instance=OuterRef("pk"))
    latest = offers.order_by("-delegated_at").values("delegated_at")[:1]
    rows = HopperInstance.objects.filter(pk__in=ids).annotate(last=Subquery(latest))
    return {pk: last for pk, last in rows.values_list("pk", "last") if last is not None}
