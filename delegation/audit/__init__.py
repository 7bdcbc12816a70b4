"""The audit: each invariant is a question to the database; the answer lists its breaches."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from delegation.audit import delegations, leases, questions, reasons, structure, tasks, words
from delegation.audit.extent import Extent, Question
from hopper import database


@dataclass(frozen=True)
class Finding:
    """One breach: the invariant, the id of the object, and the fault in words."""

    invariant: str
    object: str
    detail: str


@dataclass(frozen=True)
class Invariant:
    """An invariant: its number in the protocol, its statement, and the question.

    The question yields pairs of object id and detail.
    """

    number: str
    promise: str
    breaches: Question


def _rank(invariant: Invariant) -> int:
    return int(invariant.number.removeprefix("I"))


INVARIANTS: tuple[Invariant, ...] = tuple(
    sorted(
        (
            Invariant(number, promise, question)
            for part in (delegations, leases, questions, reasons, structure, tasks, words)
            for number, promise, question in part.QUESTIONS
        ),
        key=_rank,
    )
)


def audit(numbers: Iterable[str] = (), *, since: datetime | None = None) -> list[Finding]:
    """Return every breach of the given invariants (default: all). Writes and locks nothing.

    With `since`, only rows that changed since that time are read. Safe on a live system: all
    questions read one snapshot of the database.
    """
    wanted = set(numbers)
    asked = [one for one in INVARIANTS if not wanted or one.number in wanted]
    with database.snapshot():
        extent = Extent.since(since, database.now())
        return [
            Finding(invariant.number, *breach)
            for invariant in asked
            for breach in sorted(set(invariant.breaches(extent)))
        ]
