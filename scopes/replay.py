"""Replay: make the last decisions again under this or another configuration, and compare."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from hopper.config.files import CONFIGURATION, Snapshot
from scopes.deciding import BehaviorFailed, decide, get_behavior_for_scope
from scopes.decisions import described
from scopes.models import RoutingDecision
from scopes.record import restored

HOP_LIMIT = "HopLimit"
"""The code that placing gives to a decision, not a behaviour (R10)."""


@dataclass(frozen=True)
class Outcome:
    """The outcome of a decision: the verdict, the target or the code, and the reasons."""

    verdict: str
    target_id: str = ""
    code: str = ""
    reasons: Sequence[str] = ()

    def __str__(self) -> str:
        return f"{self.verdict} {self.target_id or self.code}".rstrip()

    def same_as(self, other: Outcome) -> bool:
        """Return whether both outcomes are equal; the reasons may differ."""
        return str(self) == str(other)


@dataclass(frozen=True)
class Difference:
    """A decision that would differ now."""

    decision_id: str
    task_id: str
    instance_id: str
    was: Outcome
    now: Outcome


@dataclass(frozen=True)
class Replay:
    """The result of a replay: decisions replayed, decisions that differ, records too old for it."""

    replayed: int
    differences: tuple[Difference, ...]
    skipped: int = 0


def replay(records: Iterable[RoutingDecision], snapshot: Snapshot | None = None) -> Replay:
    """Make each recorded decision again from its record alone, and compare; reads no database.

    `snapshot` is the configuration to decide under, by default the one in force.
    """
    replayed = skipped = 0
    differences = []
    with CONFIGURATION.held(snapshot):
        for record in records:
            if not record.situation:
                skipped += 1
                continue
            replayed += 1
            was, now = recorded(record), decided_again(record)
            if not was.same_as(now):
                differences.append(
                    Difference(record.pk, record.task_id, record.instance_id, was, now)
                )
    return Replay(replayed, tuple(differences), skipped)


def recorded(record: RoutingDecision) -> Outcome:
    """Return the recorded decision."""
    return Outcome(record.verdict, record.target_id or "", record.code, tuple(record.reasons))


def decided_again(record: RoutingDecision) -> Outcome:
    """Return the decision of the configuration in force in the recorded situation."""
    situation = restored(record.situation)
    try:
        decision = decide(get_behavior_for_scope(situation.instance.scope), situation)
    except BehaviorFailed as error:
        return Outcome("error", code=error.code, reasons=(str(error),))
    found = described(decision)
    if record.code == HOP_LIMIT and found["verdict"] == "send":
        # The epoch had no offer left for this task.
        return recorded(record)
    return Outcome(found["verdict"], found["target_id"], found["code"], tuple(found["reasons"]))


def last_decisions(number: int, *, task_id: str | None = None) -> Iterator[RoutingDecision]:
    """Yield the newest `number` decisions, the newest first, reading a few hundred at a time."""
    rows = RoutingDecision.objects.order_by("-pk")
    if task_id is not None:
        rows = rows.filter(task=task_id)
    return rows.only(*_NEEDED)[:number].iterator(chunk_size=200)


_NEEDED = ("id", "task_id", "instance_id", "target_id", "verdict", "code", "reasons", "situation")
