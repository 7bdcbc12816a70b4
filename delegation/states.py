"""The transition table of delegations (R7)."""

from __future__ import annotations

from delegation.choices import DelegationStatus as D
from hopper.states import StateMachine

DELEGATION = StateMachine(
    "delegation",
    {
        D.PENDING: frozenset({D.ACCEPTED, D.REJECTED, D.EXPIRED, D.CANCELLED}),
        D.ACCEPTED: frozenset({D.COMPLETED, D.FAILED, D.CANCELLED}),
        D.REJECTED: frozenset(),
        D.COMPLETED: frozenset(),
        D.EXPIRED: frozenset(),
        D.FAILED: frozenset(),
        D.CANCELLED: frozenset(),
    },
)
