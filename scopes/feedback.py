"""Whether a task was in the right hands, and what that says of the rules."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from django.db.models import Count, Q
from django.utils import timezone

from instances.models.instance import lineages
from scopes.models import Feedback, RoutingDecision, Verdict

if TYPE_CHECKING:
    from collections.abc import Mapping

    from hopper.actors import Actor
    from instances.models import Task


@dataclass(frozen=True)
class Judged:
    """How many answered whether a rule's choices were good matches, and how many said yes."""

    judged: int = 0
    good: int = 0

    @property
    def accuracy(self) -> float | None:
        """The ratio of the two, None where nobody answered."""
        return round(self.good / self.judged, 4) if self.judged else None


def give_feedback(task: Task, words: Mapping[str, Any], *, actor: Actor) -> Feedback:
    """Keep what somebody thinks of a task, attached to the decision that brought it where it is.

    Of several hops it is the last one that followed a rule, else the last one: a rule is what can
    be changed. An epoch that began at the holder made none: then it is one of an earlier epoch.
    """
    return Feedback.objects.create(
        task=task,
        decision=_decision_behind(task),
        created_by=actor.name,
        created_at=timezone.now(),
        **words,
    )


def judgements() -> dict[str, Judged]:
    """Return what people thought of each rule's choices, by the id of the rule; one query."""
    rows = Feedback.objects.exclude(was_good_match=None).exclude(decision__rule="")
    counted = rows.filter(decision__isnull=False).order_by().values_list("decision__rule")
    good = Count("pk", filter=Q(was_good_match=True))
    return {
        rule: Judged(judged, good)
        for rule, judged, good in counted.annotate(judged=Count("pk"), good=good)
    }


def _decision_behind(task: Task) -> RoutingDecision | None:
    if task.instance_id is None:
        return None
    way = [lineal.id for lineal in lineages([task.instance_id])[task.instance_id]]
    every = RoutingDecision.objects.for_task(task.pk).filter(verdict=Verdict.SEND, target__in=way)
    now = every.filter(epoch=task.epoch)
    return next(
        (found for rows in (now, every) if (found := rows.exclude(rule="").last() or rows.last())),
        None,
    )
