"""The way of one task: where it came in, who was asked, who held it, what was tried."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from delegation.models import TaskDelegation
from delegation.pages.visit import Visit
from hopper import database
from instances.choices import TERMINAL
from instances.models import Attempt, Event, Question, Task
from scopes.models import RoutingDecision


@dataclass(frozen=True)
class Step:
    """One step: its moment, its kind (a word the page knows), and what the page shows.

    `places` are the ids of the instances in it, source first; `tone` is good, bad, wait or "".
    """

    at: datetime
    kind: str
    tone: str = ""
    title: str = ""
    places: tuple[str | None, ...] = ()
    by: str = ""
    text: str = ""
    more: dict[str, Any] = field(default_factory=dict)


_TONES = {
    "accepted": "good", "completed": "good", "rejected": "bad", "expired": "bad", "failed": "bad",
    "pending": "wait",
}  # fmt: skip
_TOLD = {
    "task.blocked": ("Blocked", "bad"),
    "task.unblocked": ("Unblocked", ""),
    "task.reopened": ("Opened again", "wait"),
    "task.rerouted": ("Placed anew", "wait"),
    "task.decomposed": ("Split into children", ""),
    "task.children_done": ("All children ended", ""),
    "task.moved": ("Moved", ""),
    "task.discarded": ("Discarded", ""),
    "task.given_up": ("Given up here and handed up", "bad"),
    "task.retrying": ("Waits before another try", "wait"),
    "task.undecided": ("Not placed", "bad"),
    "task.evicted": ("Taken from its worker", "bad"),
}
"""The events that are steps of their own; offers, attempts and questions have tables."""


def way_of(task: Task, visit: Visit) -> list[Step]:
    """Return the steps of a task that the person may see, oldest first; a few queries."""
    decisions = list(RoutingDecision.objects.for_task(task.pk))
    steps = [
        _origin(task),
        *_offers(task, decisions, visit),
        *_stays(decisions, visit),
        *_attempts(task.attempts.order_by("number")),
        *_questions(task.questions.order_by("number") if task.asked else ()),
        *_events(task, visit),
    ]
    steps.sort(key=lambda step: step.at)
    # An event that only repeats the words of the decision before it is left out.
    pairs = zip([None, *steps], steps, strict=False)
    return [
        step
        for before, step in pairs
        if not (before and step.kind == "event" and step.text and step.text == before.text)
    ]


def _origin(task: Task) -> Step:
    return Step(
        task.created_at, "origin", title="Came in", places=(task.origin_id,), by=task.created_by
    )


def _offers(task: Task, decisions: list[RoutingDecision], visit: Visit) -> Iterator[Step]:
    """Yield one step for each offer with the decision behind it."""
    chosen = {(one.epoch, one.hop, one.target_id): one for one in decisions}
    for offer in TaskDelegation.objects.for_task(task.pk):
        source, target = offer.source_instance_id, offer.target_instance_id
        seen = source in visit.places or target in visit.places
        decision = chosen.get((offer.epoch, offer.hop, target))
        told = decision if decision and decision.instance_id in visit.places else None
        yield Step(
            offer.delegated_at,
            "offer",
            _TONES.get(offer.status, ""),
            "Handed up" if offer.goes_up else "Offered",
            (source, target),
            offer.delegated_by,
            (offer.rejection_reason or offer.notes) if seen else "",
            {"offer": offer, **_considered(told, visit)},
        )


def _stays(decisions: Iterable[RoutingDecision], visit: Visit) -> Iterator[Step]:
    """Yield the decisions that sent the task nowhere."""
    for one in decisions:
        if one.verdict in ("stay", "refuse") and one.instance_id in visit.places:
            refused = one.verdict == "refuse"
            yield Step(
                one.created_at,
                "decision",
                "bad" if refused else "",
                "Refused" if refused else "Stays",
                (one.instance_id,),
                text="; ".join(map(str, one.reasons)),
                more={"code": one.code, **_considered(one, visit)},
            )


def _considered(decision: RoutingDecision | None, visit: Visit) -> dict[str, Any]:
    """Return the reasons and the visible candidates of a decision, best score first."""
    if decision is None:
        return {}
    seen = [one for one in decision.candidates if one["instance_id"] in visit.places]
    for one in seen:
        one["against"] = [f"{name}: {why}" for name, why in one["filters"].items() if why != "ok"]
        one["chosen"] = one["instance_id"] == decision.target_id
    ranked = sorted(seen, key=lambda one: (not one["chosen"], not one["fits"], -one["score"]))
    return {"decision": decision, "candidates": ranked}


def _attempts(attempts: Iterable[Attempt]) -> Iterator[Step]:
    """Yield the leases, each with its length beside the longest one."""
    rows = list(attempts)
    now = database.now()
    lengths = [((one.ended_at or now) - one.started_at).total_seconds() for one in rows]
    longest = max(lengths, default=0) or 1
    for one, seconds in zip(rows, lengths, strict=True):
        outcome = one.outcome or ""
        tones = {"": "wait", "completed": "good", "asked": "", "released": ""}
        width = max(2, round(240 * seconds / longest))
        told = {"attempt": one, "seconds": seconds, "width": width}
        told["progress"] = None if one.progress is None else round(width * one.progress)
        yield Step(
            one.started_at, "attempt", tones.get(outcome, "bad"), f"Attempt {one.number}",
            (one.instance_id,), one.worker, one.error, told,
        )  # fmt: skip


def _questions(questions: Iterable[Question]) -> Iterator[Step]:
    for one in questions:
        tone = "bad" if one.is_open else "good" if one.answer is not None else ""
        told = {"question": one}
        yield Step(
            one.asked_at,
            "question",
            tone,
            "Asked",
            (one.instance_id,),
            one.asked_by,
            one.text,
            told,
        )


def _events(task: Task, visit: Visit) -> Iterator[Step]:
    """Yield the other changes, and the end of the task."""
    rows = Event.objects.filter(task=task).order_by("pk")
    kinds = [*_TOLD, *(f"task.{status}" for status in TERMINAL)]
    for event in rows.filter(kind__in=kinds)[:500]:
        if event.instance_id is not None and event.instance_id not in visit.places:
            continue
        if event.kind in _TOLD:
            title, tone = _TOLD[event.kind]
            text = str(event.data.get("detail") or event.data.get("reason") or "").replace("_", " ")
            yield Step(event.at, "event", tone, title, (event.instance_id,), event.actor, text)
        elif event.instance_id == (event.holder_id or None):
            tone = "good" if event.status == "done" else "bad"
            yield Step(event.at, "end", tone, event.status.capitalize(), by=event.actor)
