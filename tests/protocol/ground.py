"""The base of the model's rules: the project's own tables, and the change of a state."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from instances.allowances import ALLOWANCES, EXECUTING, ROUTING, Allowance, effective_status
from tests.protocol.state import PLACING_BLOCKS, State, Tree, Work

if TYPE_CHECKING:
    from collections.abc import Iterable


class Ground:
    """The tree, the bounds of the walk, and the questions that every rule asks."""

    most_epochs = 2
    most_failures = 2
    most_offers = 4
    most_thoughts = 1
    most_questions = 1
    policy = "wait_all"

    def __init__(self, tree: Tree, **bounds: Any) -> None:
        self.tree = tree
        for name, value in bounds.items():
            setattr(self, name, value)
        self._effective: dict[tuple[str, ...], dict[str, str]] = {}

    def status(self, state: State, name: str) -> str:
        """The instance's own status."""
        return state.statuses[self.tree.place[name]]

    def live(self, state: State, name: str) -> bool:
        """Whether it is not terminated."""
        return self.status(state, name) != "terminated"

    def effective(self, state: State, name: str) -> str:
        """The status after inheritance (R4)."""
        known = self._effective.get(state.statuses)
        if known is None:
            known = self._effective[state.statuses] = {
                one: effective_status(
                    self.status(state, one),
                    [self.status(state, above) for above in self.tree.above[one]],
                )
                for one in self.tree.names
            }
        return known[name]

    def allows(self, state: State, name: str) -> Allowance:
        """The row of R3 that applies."""
        return ALLOWANCES[self.effective(state, name)]

    def routes(self, name: str | None) -> bool:
        """Whether the instance sends work down (R1)."""
        return name is not None and self.tree.scope[name] in ROUTING

    def executes(self, name: str | None) -> bool:
        """Whether work may be claimed at the instance (R1)."""
        return name is not None and self.tree.scope[name] in EXECUTING

    def children_of(self, state: State, task: int) -> list[int]:
        """The child tasks of a task."""
        return [one for one, work in enumerate(state.works) if work.parent == task]

    def nearest_live(self, state: State, name: str | None, gone: Iterable[str] = ()) -> str | None:
        """The instance itself if it lives, else the nearest above it that does (R5)."""
        if name is None:
            return None
        line = [*self.tree.above[name], name]
        live = [one for one in line if self.live(state, one) and one not in gone]
        return live[-1] if live else None

    def put(self, state: State, task: int, work: Work) -> State:
        """The state with that task in place of the present one."""
        works = state.works
        return state._replace(works=(*works[:task], work, *works[task + 1 :]))

    def set_status(self, state: State, names: Iterable[str], status: str) -> State:
        """The state with these instances in that status; what does not run brings nothing back."""
        chosen = set(names)
        ceased = frozenset(chosen) if status != "running" else frozenset()
        return state._replace(
            statuses=tuple(
                status if name in chosen else own
                for name, own in zip(self.tree.names, state.statuses, strict=True)
            ),
            works=tuple(
                work._replace(again=work.again - ceased) if work.again & ceased else work
                for work in state.works
            ),
        )

    def rest_or_route(self, work: Work) -> Work:
        """Due for placing where it is pending, not offered, and routed on or going back (R11)."""
        onward = self.routes(work.holder) or bool(work.return_to)
        due = work.status == "pending" and not work.offers and onward
        return work._replace(due=due, decided="")

    def blocked_by_placing(self, work: Work) -> bool:
        """Whether a new routing lifts the block."""
        return work.status == "blocked" and work.waits in PLACING_BLOCKS
