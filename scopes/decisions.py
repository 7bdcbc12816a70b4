"""The values that a decision reads and returns: frozen, without the database."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from datetime import UTC, datetime
from functools import cache, cached_property
from typing import Any, cast

from hopper.words import key_of, keys_of
from instances.allowances import Standing, queue_full


class Facts:
    """Facts that are recorded with a decision."""

    @cached_property
    def recorded(self) -> dict[str, Any]:
        """The facts as JSON, without defaults, settings and the stored configuration.

        Settings of files are what a replay of the decision may change.
        """
        found, kind = {}, cast("Any", type(self))
        for name, default in _defaults(kind).items():
            value = getattr(self, name)
            if value == default or value in _EMPTY:
                continue
            if isinstance(value, datetime):
                value = value.isoformat()
            elif isinstance(value, frozenset):
                value = sorted(value)
            found[name] = dict(value) if name == "own" else value
        return found

    @cached_property
    def text(self) -> str:
        """The recorded facts as the text of JSON, made once."""
        return json.dumps(self.recorded)


_EMPTY: tuple[Any, ...] = ((), frozenset(), {})
_NOT_RECORDED = ("settings", "config")


@cache
def _defaults(kind: Any) -> dict[str, Any]:
    """Return the recorded fields of a kind of facts with their defaults."""
    found: dict[str, Any] = {one.name: one.default for one in fields(kind)}
    return {name: default for name, default in found.items() if name not in _NOT_RECORDED}


@dataclass(frozen=True)
class TaskFacts(Facts):
    """The task as behaviours see it (R9), with the first 20,000 characters of the description."""

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
class InstanceFacts(Facts):
    """An instance as behaviours see it: the deciding instance or a candidate below it.

    `settings` is the effective configuration (shipped defaults, operator's files, own `config`),
    `own` the part of it that the instance states itself. `config` is the stored configuration as
    the text of JSON: an instance gets the task only while it has that one (R9).
    `capabilities` are the instance's own or inherited ones, `subtree_capabilities` adds those of
    the live instances below it. Loads count tasks: `queued` waits there, `running` holds a live
    lease, `open_tasks` is everything unfinished in its subtree. `barred` is the reason code why
    R9's database-side filters exclude it (`excluded`, `on_path`), or "". `level` counts the tree's
    levels down to it, 1 at a root. `name_key` is the form in which its name is compared (R25).
    """

    id: str
    name: str
    scope: str
    effective_status: str
    name_key: str = ""
    capabilities: frozenset[str] = frozenset()
    subtree_capabilities: frozenset[str] = frozenset()
    domains: tuple[str, ...] = ()
    settings: Mapping[str, Any] = field(default_factory=dict)
    own: Mapping[str, Any] = field(default_factory=dict)
    queued: int = 0
    running: int = 0
    open_tasks: int = 0
    last_assigned_at: datetime | None = None
    barred: str = ""
    started_at: datetime | None = None
    level: int = 1
    config: str = "{}"

    def __post_init__(self) -> None:
        """Make the key of the name where none is given."""
        object.__setattr__(self, "name_key", self.name_key or key_of(self.name))

    @cached_property
    def standing(self) -> Standing:
        """The effective status and its permissions (R3)."""
        return Standing(self.id, self.effective_status)

    @cached_property
    def capability_keys(self) -> frozenset[str]:
        """The forms in which its capabilities are compared (R25)."""
        return frozenset(keys_of(self.capabilities))

    @cached_property
    def load(self) -> float:
        """The open tasks by slot."""
        return round(self.open_tasks / max(1, int(self.settings["max_concurrent_tasks"])), 6)

    @cached_property
    def last_assigned(self) -> str:
        """The time of its last offer in UTC, "" for none."""
        last = self.last_assigned_at
        return last.astimezone(UTC).isoformat(timespec="microseconds") if last else ""

    @cached_property
    def queue_full(self) -> str:
        """The sentence that the queue is full (R22), or ""."""
        return queue_full(self.id, self.queued, int(self.settings["max_queued_tasks"]))


@dataclass(frozen=True)
class Situation:
    """All values of one decision, read once and without locks (R9).

    `candidates` are the live (not terminated) direct children of `instance`. `terminated_names` are
    the names and ids of terminated children; `created_last_hour` counts the children that the
    router made here in the last hour (R25).
    """

    task: TaskFacts
    instance: InstanceFacts
    candidates: tuple[InstanceFacts, ...] = ()
    terminated_names: frozenset[str] = frozenset()
    created_last_hour: int = 0


@dataclass(frozen=True)
class Considered:
    """One candidate with the verdict of each hard filter and the parts of its score.

    `speaks` says whether the task matches the candidate; `load` is work per slot; `answers` says
    whether the candidate runs and so would answer now; `last_assigned` is an RFC 3339 time or "".
    """

    instance_id: str
    fits: bool
    filters: Mapping[str, str]
    score: float = 0.0
    parts: Mapping[str, float] = field(default_factory=dict)
    load: float = 0.0
    speaks: bool = False
    answers: bool = True
    last_assigned: str = ""


@dataclass(frozen=True)
class Decision:
    """A decision with its reasons in words and its candidates.

    `rules` are the ids of the rules that matched, best first; `rule` the one that decided.
    """

    reasons: tuple[str, ...]
    considered: tuple[Considered, ...] = ()
    confidence: float = 1.0
    rules: tuple[str, ...] = ()
    rule: str = field(default="", kw_only=True)

    @cached_property
    def text(self) -> str:
        """The decision as the text of JSON, made once. Raises where it is no JSON."""
        return json.dumps(described(self), allow_nan=False)


@dataclass(frozen=True)
class Stay(Decision):
    """The task stays with its holder; `code` is the waiting code, such as ManualQueue."""

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
    """No instance below can take the task. `code`: Unroutable, CapabilityGap, AmbiguousTarget, ...

    The caller escalates or blocks the task, depending on its place (R9).
    `spills` is false where the task named its target: no level above may send it elsewhere.
    """

    code: str = "Unroutable"
    spills: bool = True

    @property
    def goes_up(self) -> bool:
        """Whether the level above gets the task back, if the task came from one (R9)."""
        return self.spills and self.code in ("Unroutable", "CapabilityGap")


@dataclass(frozen=True)
class Answer:
    """The answer of a target to an offer: `accept`, `wait` for a person, or `refuse` (R8)."""

    verdict: str
    code: str = ""
    reason: str = ""


_VERDICTS = {SendTo: "send", Stay: "stay", CreateChild: "create", Refuse: "refuse"}


def described(decision: Decision) -> dict[str, Any]:
    """Return a decision as JSON: verdict, code, target_id, reasons, candidates, rules, ..."""
    verdict = next(word for kind, word in _VERDICTS.items() if isinstance(decision, kind))
    return {
        "verdict": verdict,
        "code": getattr(decision, "code", ""),
        "target_id": getattr(decision, "target_id", "") or getattr(decision, "name", ""),
        "reasons": list(decision.reasons),
        "candidates": [dict(vars(considered)) for considered in decision.considered],
        "rules": list(decision.rules),
        "rule": decision.rule,
        "confidence": decision.confidence,
    }
