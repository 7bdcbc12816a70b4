"""The values that go into a decision and come out of it: frozen, free of the database."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any


@dataclass(frozen=True)
class TaskFacts:
    """What a behaviour may know of a task (R9)."""

    id: str
    title: str
    description: str = ""
    project: str = ""
    tags: tuple[str, ...] = ()
    priority: str = "medium"
    required_capabilities: tuple[str, ...] = ()
    task_type: str = ""
    complexity: int | None = None
    executor_preference: str = "any"
    owner: str = ""
    requester: str = ""
    source: str = ""


@dataclass(frozen=True)
class InstanceFacts:
    """What a behaviour may know of an instance: the deciding one or a candidate below it.

    `settings` is the effective configuration (shipped defaults, operator's files, own `config`).
    `capabilities` are the instance's own or inherited ones, `subtree_capabilities` adds those of the
    live instances below it. Loads count tasks: `queued` waits there, `running` holds a live lease,
    `open_tasks` is everything unfinished in its subtree. `barred` is the reason code why R9's
    database-side filters exclude it (`excluded`, `on_path`), or "".
    """

    id: str
    name: str
    scope: str
    effective_status: str
    capabilities: frozenset[str] = frozenset()
    subtree_capabilities: frozenset[str] = frozenset()
    domains: tuple[str, ...] = ()
    settings: Mapping[str, Any] = field(default_factory=dict)
    queued: int = 0
    running: int = 0
    open_tasks: int = 0
    last_assigned_at: datetime | None = None
    barred: str = ""
    started_at: datetime | None = None


@dataclass(frozen=True)
class Situation:
    """Everything one decision is made from, read once and without locks (R9).

    `candidates` are the live (not terminated) direct children of `instance`. `terminated_names` are
    the names and ids of terminated children (R25).
    """

    task: TaskFacts
    instance: InstanceFacts
    candidates: tuple[InstanceFacts, ...] = ()
    terminated_names: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Considered:
    """One candidate as it was weighed: the verdict of each hard filter and the parts of its score."""

    instance_id: str
    fits: bool
    filters: Mapping[str, str]
    score: float = 0.0
    parts: Mapping[str, float] = field(default_factory=dict)
    load: float = 0.0


@dataclass(frozen=True)
class Decision:
    """What a behaviour decided, with its reasons in words and all that it weighed."""

    reasons: tuple[str, ...]
    considered: tuple[Considered, ...] = ()
    confidence: float = 1.0
    rules: tuple[str, ...] = ()


@dataclass(frozen=True)
class Stay(Decision):
    """The task rests where it is; `code` is the waiting code (ManualQueue, AwaitingTriage, ...)."""

    code: str = "ManualQueue"


@dataclass(frozen=True)
class SendTo(Decision):
    """Offer the task to this child; `score` as it was computed."""

    target_id: str = ""
    score: float = 0.0


@dataclass(frozen=True)
class CreateChild(Decision):
    """Create this child first (R25), in a transaction of its own, then decide again."""

    name: str = ""
    scope: str = ""
    instance_type: str = "persistent"


@dataclass(frozen=True)
class Refuse(Decision):
    """Nobody below can have it. `code`: Unroutable, CapabilityGap, AmbiguousTarget, ExplicitTarget...

    The caller makes an escalation or a block of it, depending on where the task stands (R9).
    """

    code: str = "Unroutable"


@dataclass(frozen=True)
class Answer:
    """What a target says to an offer: `accept`, `wait` for a person, or `refuse` with a code (R8)."""

    verdict: str
    code: str = ""
    reason: str = ""
