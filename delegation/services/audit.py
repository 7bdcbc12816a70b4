"""The audit: each invariant as one question to the database, answered with what breaks it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from delegation.services import audit_delegations, audit_structure, audit_tasks

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable


@dataclass(frozen=True)
class Finding:
    """One breach: the invariant, what breaks it, and how, in words."""

    invariant: str
    object: str
    detail: str


@dataclass(frozen=True)
class Invariant:
    """An invariant: its number in the protocol, its promise, the question that finds breaches.

    The question yields pairs of object id and detail.
    """

    number: str
    promise: str
    breaches: Callable[[], Iterable[tuple[str, str]]]


INVARIANTS: tuple[Invariant, ...] = tuple(
    Invariant(number, promise, question)
    for number, promise, question in (
        *audit_tasks.QUESTIONS,
        *audit_delegations.QUESTIONS,
        *audit_structure.QUESTIONS,
    )
)


def audit(numbers: Iterable[str] = ()) -> list[Finding]:
    """Return every breach of the invariants asked for (all by default); reads only.

    Safe on a live system: each question is one statement's snapshot, and what it reports is looked
    at a second time, so that a change passing by is not taken for a breach.
    """
    wanted = set(numbers)
    asked = [one for one in INVARIANTS if not wanted or one.number in wanted]
    return [finding for invariant in asked for finding in _confirmed(invariant)]


def _confirmed(invariant: Invariant) -> list[Finding]:
    first = set(invariant.breaches())
    again = set(invariant.breaches()) if first else set()
    return [Finding(invariant.number, *breach) for breach in sorted(first & again)]
