"""A state machine as data: the one table that services, API, command line and docs all read."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from hopper.errors import InvalidTransition

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True)
class StateMachine:
    """Which state may follow which: `transitions` maps each state to those that may come next."""

    noun: str
    transitions: Mapping[str, frozenset[str]]

    def allowed(self, state: str) -> list[str]:
        """Return the states that may follow `state`, sorted."""
        return sorted(self.transitions[state])

    def permits(self, state: str, target: str) -> bool:
        """Return whether `target` may follow `state`."""
        return target in self.transitions[state]

    def require(self, state: str, target: str, subject: str = "") -> None:
        """Raise InvalidTransition, naming both states and what is allowed, unless it is legal."""
        if self.permits(state, target):
            return
        allowed = self.allowed(state)
        name = f"{self.noun} {subject}".strip()
        raise InvalidTransition(
            f"{name} is {state} and cannot become {target}; "
            f"allowed from here: {', '.join(allowed) or 'nothing, this is final'}.",
            state=state,
            requested=target,
            allowed=allowed,
        )

    def sources(self, target: str) -> list[str]:
        """Return the states from which `target` can be reached in one step, sorted."""
        return sorted(state for state, after in self.transitions.items() if target in after)

    def mermaid(self) -> str:
        """Return the table as a Mermaid state diagram."""
        lines = ["stateDiagram-v2"]
        for state, after in self.transitions.items():
            lines += [f"    {state} --> {target}" for target in sorted(after)]
            if not after:
                lines.append(f"    {state} --> [*]")
        return "\n".join(lines)
