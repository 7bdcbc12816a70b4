"""Feedback on tasks, and the accuracy of the rules that follows from it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from django.db.models import Count, Q

from hopper import database
from hopper.actors import Actor
from hopper.words import bearers, key_of
from instances.models import HopperInstance, Task, lineages
from scopes.models import Feedback, RoutingDecision, Verdict


@dataclass(frozen=True)
class Judged:
    """The number of answers about a rule's choices, and the number of answers yes."""

    judged: int = 0
    good: int = 0

    @property
    def accuracy(self) -> float | None:
        """The ratio of the two, or None without answers."""
        return round(self.good / self.judged, 4) if self.judged else None


def give_feedback(task: Task, words: Mapping[str, Any], *, actor: Actor) -> Feedback:
    """Store feedback on a task with the decision that placed the task.

    Of several decisions the last one that followed a rule counts, else the last one: people can
    change a rule. If this epoch has no decision, an earlier epoch's counts. Without
    `was_good_match` the answer follows from `should_have_routed_to`.
    """
    given = Feedback(task=task, created_by=actor.name, created_at=database.now(), **words)
    way = _way_to(task)
    given.decision = _decision_behind(task, way)
    if given.was_good_match is None and key_of(given.should_have_routed_to) and given.decision:
        ids = way[way.index(str(given.decision.target_id)) :]
        reached = HopperInstance.objects.filter(pk__in=ids)
        given.was_good_match = bool(bearers(given.should_have_routed_to, reached))
    given.save()
    return given


def judgements() -> dict[str, Judged]:
    """Return the feedback on each rule's choices by the id of the rule; one query."""
    rows = Feedback.objects.exclude(was_good_match=None).exclude(decision__rule="")
    counted = rows.filter(decision__isnull=False).order_by().values_list("decision__rule")
    good = Count("pk", filter=Q(was_good_match=True))
    return {
        rule: Judged(judged, good)
        for rule, judged, good in counted.annotate(judged=Count("pk"), good=good)
    }


def _way_to(task: Task) -> list[str]:
    """Return the ids of the holder and its ancestors, root first; none without a holder."""
    if task.instance_id is None:
        return []
    return [ancestor.id for ancestor in lineages([task.instance_id])[task.instance_id]]


def _decision_behind(task: Task, way: list[str]) -> RoutingDecision | None:
    every = RoutingDecision.objects.for_task(task.pk).filter(verdict=Verdict.SEND, target__in=way)
    now = every.filter(epoch=task.epoch)
    return next(
        (found for rows in (now, every) if (found := rows.exclude(rule="").last() or rows.last())),
        None,
    )
