"""The state of the model: a tree of instances, tasks, and decisions under way."""

from __future__ import annotations

from typing import NamedTuple

HAND = "by hand"
"""In place of the leasing instance: somebody works without a lease (R21)."""

PLACING_BLOCKS = ("Unroutable", "HopLimit")
"""The blocks of the model that placing sets, and a new routing lifts (R9)."""


class Question(NamedTuple):
    """An open question (R11): its number, the instance and the epoch where it was asked.

    `timed` is "default" or "raise" for a question that has a time-out, with or without a default.
    `rests` is set where the task was leased or rested when the question was asked.
    """

    number: int
    at: str
    epoch: int = 1
    timed: str = ""
    rests: bool = False
    raised: bool = False


class Offer(NamedTuple):
    """A pending delegation; `up` is an escalation, `explicit` one that a person answers (R8).

    `carries` is the number of the open question that an escalation takes along (R11).
    """

    source: str | None
    target: str
    up: bool = False
    explicit: bool = False
    carries: int = 0


class Work(NamedTuple):
    """A task. `lease` is the leasing instance or HAND, `hops` the active path as (from, to).

    `refused` are those excluded in this epoch, `made` the offers that count in it (R10), `waits`
    the code of a block, `again` the instances that began to run since and run still (R9),
    `questions` the open ones, `asked` how many there ever were, `return_to` the asker that an
    answered task goes back to (R11). What no rule asks but the invariants do: `decided`, the holder
    that the latest decision of this epoch was made at; `unanswered`, the askers of this epoch whose
    question was set aside; `was` and `closed`, the path as it ended and how; `aggregated`, that the
    children ended it.
    """

    status: str = "absent"
    holder: str | None = None
    hops: tuple[tuple[str, str], ...] = ()
    offers: tuple[Offer, ...] = ()
    due: bool = False
    epoch: int = 1
    refused: frozenset[str] = frozenset()
    lease: str | None = None
    waits: str = ""
    failures: int = 0
    made: int = 0
    parent: int | None = None
    decomposed: bool = False
    again: frozenset[str] = frozenset()
    questions: tuple[Question, ...] = ()
    asked: int = 0
    return_to: str = ""
    decided: str = ""
    unanswered: frozenset[str] = frozenset()
    was: tuple[tuple[str, str], ...] = ()
    closed: str = ""
    aggregated: bool = False

    @property
    def open(self) -> bool:
        """Whether there is such a task and it has not ended."""
        return self.status not in ("absent", "done", "failed", "cancelled")

    @property
    def started(self) -> bool:
        """Whether somebody works on it, or its children do."""
        return self.status in ("claimed", "in_progress")

    @property
    def question(self) -> Question | None:
        """The open question."""
        return self.questions[0] if self.questions else None

    @property
    def leased(self) -> bool:
        """Whether a worker holds a lease."""
        return self.lease is not None and self.lease != HAND


class Thought(NamedTuple):
    """A decision made from what was read without locks, and not yet acted on (R9).

    `fresh` ends when an instance below the holder begins to run. `question` is the number of the
    open question, or 0.
    """

    task: int
    holder: str
    epoch: int
    refused: frozenset[str]
    verdict: str
    target: str = ""
    question: int = 0
    return_to: str = ""
    fresh: bool = True


class State(NamedTuple):
    """Everything: the statuses in the order of the tree, the tasks, the decisions under way."""

    statuses: tuple[str, ...]
    works: tuple[Work, ...]
    thoughts: tuple[Thought, ...] = ()


class Tree:
    """Instances by name, with scope and parent, parents first; it keeps its shape."""

    def __init__(
        self,
        *rows: tuple[str, str, str | None],
        manual: tuple[str, ...] = (),
        strict: tuple[str, ...] = (),
    ) -> None:
        self.names = tuple(name for name, _, _ in rows)
        self.scope = {name: scope for name, scope, _ in rows}
        self.parent = {name: parent for name, _, parent in rows}
        self.place = {name: place for place, name in enumerate(self.names)}
        self.manual = manual
        """Those where a person accepts."""
        self.strict = strict
        """Projects that keep nothing for their people: manual_fallback is off."""
        self.above: dict[str, tuple[str, ...]] = {}
        for name, _, parent in rows:
            self.above[name] = (*self.above[parent], parent) if parent else ()
        self.below = {
            name: frozenset(one for one in self.names if one == name or name in self.above[one])
            for name in self.names
        }
        self.children = {
            name: tuple(one for one in self.names if self.parent[one] == name)
            for name in self.names
        }
