"""The words and tables of the protocol as plain data for services, admin, CLI and documents.

Does not import Django, so that the command line can read it. `choices` holds the same words
for columns.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from hopper.errors import InvalidTransition


@dataclass(frozen=True)
class StateMachine:
    """A table of states. `transitions` maps each state to the states that may follow."""

    noun: str
    transitions: Mapping[str, frozenset[str]]

    def allowed(self, state: str) -> list[str]:
        """Return the states that may follow `state`, sorted."""
        return sorted(self.transitions[state])

    def permits(self, state: str, target: str) -> bool:
        """Return whether `target` may follow `state`."""
        return target in self.transitions[state]

    def require(self, state: str, target: str, subject: str = "") -> None:
        """Raise InvalidTransition for an illegal step; the error names the allowed states."""
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


def _machine(noun: str, edges: dict[str, str]) -> StateMachine:
    return StateMachine(noun, {state: frozenset(after.split()) for state, after in edges.items()})


INSTANCE = _machine(
    "instance",
    {
        "created": "starting terminated error",
        "starting": "running stopping error terminated",
        "running": "paused stopping error terminated",
        "paused": "running stopping error terminated",
        "stopping": "stopped error terminated",
        "stopped": "starting error terminated",
        "error": "starting running stopping terminated",
        "terminated": "",
    },
)
"""The life of an instance (R2)."""

TASK = _machine(
    "task",
    {
        "pending": "claimed in_progress blocked cancelled done",
        "claimed": "in_progress pending blocked done failed cancelled",
        "in_progress": "pending blocked done failed cancelled",
        "blocked": "pending in_progress cancelled failed done",
        "done": "pending",
        "failed": "pending",
        "cancelled": "pending",
    },
)
"""The life of a task (R19). Only a new epoch leads out of an end (R18)."""

DELEGATION = _machine(
    "delegation",
    {
        "pending": "accepted rejected expired cancelled",
        "accepted": "completed failed cancelled",
        "rejected": "",
        "completed": "",
        "expired": "",
        "failed": "",
        "cancelled": "",
    },
)
"""The life of a delegation (R7)."""

ENDED = ("done", "failed", "cancelled")
"""The final statuses of a task."""


@dataclass(frozen=True)
class Action:
    """A verb on an instance: the states where it may begin, the states it then takes, its meaning.

    An instance that is already at the last step stays as it is.
    """

    sources: tuple[str, ...]
    steps: tuple[str, ...]
    words: str

    def ahead(self, state: str) -> tuple[str, ...]:
        """Return the steps that are still ahead of an instance in `state`."""
        return self.steps[self.steps.index(state) + 1 :] if state in self.steps else self.steps


ACTIONS = {
    "start": Action(
        (*INSTANCE.sources("starting"), "starting"), ("starting", "running"), "start instances"
    ),
    "stop": Action(
        tuple(INSTANCE.sources("stopping")),
        ("stopping", "stopped"),
        "stop instances; what runs there finishes first",
    ),
    "pause": Action(
        tuple(INSTANCE.sources("paused")), ("paused",), "let instances take nothing new"
    ),
    "resume": Action(("paused",), ("running",), "let paused instances work again"),
    "recover": Action(("error",), ("running",), "let instances in error work again"),
    "fail": Action(tuple(INSTANCE.sources("error")), ("error",), "declare instances in error"),
}
"""The actions on an instance, by name (R2). `restart` is stop, then start."""

PARENTS: dict[str, frozenset[str]] = {
    scope: frozenset(parents.split())
    for scope, parents in {
        "GLOBAL": "",
        "PROJECT": "GLOBAL FAMILY PERSONAL EVENT",
        "ORCHESTRATION": "PROJECT PERSONAL FAMILY EVENT ORCHESTRATION",
        "PERSONAL": "GLOBAL FAMILY",
        "FAMILY": "GLOBAL",
        "EVENT": "GLOBAL FAMILY PERSONAL PROJECT",
        "FEDERATED": "GLOBAL PROJECT",
    }.items()
}
"""Each scope with the allowed scopes of its parent (R1). An ORCHESTRATION under an ORCHESTRATION is
a phase. A phase holds no phase."""

ROOTS = frozenset({"GLOBAL", "FAMILY", "PERSONAL", "PROJECT"})
"""Scopes that may stand without a parent (R1)."""

PRIORITIES = ("low", "medium", "high", "urgent")

CLI_WORDS = {
    "pending": "open",
    "claimed": "in_progress",
    "in_progress": "in_progress",
    "blocked": "blocked",
    "done": "completed",
    "cancelled": "cancelled",
    "failed": "failed",
}
"""Each status of a task with the command line's word for the status (R19)."""

ASKED_FOR = {"open": "pending", "completed": "done"}
"""Each command line word that asks for a status of another name (R19)."""

EVENTS = {
    "instance.created": "an instance was created",
    "instance.error": "it is in error",
    "instance.moved": "it stands under another parent",
    "instance.paused": "it takes no new work",
    "instance.renamed": "it has another name",
    "instance.running": "it runs",
    "instance.starting": "it starts",
    "instance.stopped": "it stopped",
    "instance.stopping": "it stops; what runs there finishes first",
    "instance.terminated": "it was terminated",
    "instance.updated": "its settings or its description changed",
    "delegation.accepted": "the target took the task",
    "delegation.cancelled": "an offer was taken back",
    "delegation.expired": "an offer was not answered in time",
    "delegation.offered": "a task was offered to an instance",
    "delegation.rejected": "the target refused the task",
    "task.answered": "a question about the task was answered",
    "task.asked": "a worker or a person asked a question",
    "task.blocked": "the task waits for a person",
    "task.cancelled": "the task was cancelled",
    "task.children_done": "all children of the task have ended",
    "task.claimed": "a worker or a person took the task",
    "task.commented": "somebody commented on the task",
    "task.created": "a task was created",
    "task.cut_loose": "the parent ended, and the task goes on without it",
    "task.decomposed": "the task was split into children",
    "task.discarded": "a dead letter was set aside",
    "task.done": "the task is done",
    "task.evicted": "the work on the task was ended, because its instance stopped",
    "task.failed": "the task failed for good",
    "task.given_up": "the task used all attempts here and was handed up",
    "task.lease_lost": "a lease ran out",
    "task.moved": "the task has another holder",
    "task.question_expired": "a question was not answered in time",
    "task.ready": "the predecessors of the task have ended, and it may begin",
    "task.released": "the task was given back to its queue",
    "task.reopened": "an ended task is pending again",
    "task.rerouted": "the task is placed anew",
    "task.resting": "placing left the task with its holder",
    "task.retrying": "an attempt failed, and the next one follows after a pause",
    "task.started": "the work on the task began",
    "task.unblocked": "the task waits for a person no more",
    "task.undecided": "placing found no place for the task",
    "task.undecomposed": "the task lost its last child and works by itself again",
    "task.updated": "fields of the task changed",
    "task.waiting": "the task waits for predecessors",
}
"""Each kind of event with its meaning. A webhook names kinds, and groups such as `task.*`."""
