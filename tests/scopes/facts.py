"""Facts made by hand, for decisions without a database."""

from __future__ import annotations

from typing import Any

from hopper.config.registry import effective_settings
from scopes.deciding import get_behavior_for_scope
from scopes.decisions import Decision, InstanceFacts, SendTo, Situation, TaskFacts


def task(title: str = "Something to do", **fields: Any) -> TaskFacts:
    """Return a task; lists may be given for its tuples."""
    for name in ("tags", "required_capabilities"):
        fields[name] = tuple(fields.get(name, ()))
    return TaskFacts(id="task-1", title=title, **fields)


def instance(
    id: str,
    scope: str = "PROJECT",
    status: str = "running",
    *,
    can: tuple[str, ...] = (),
    below: tuple[str, ...] = (),
    config: dict[str, Any] | None = None,
    **fields: Any,
) -> InstanceFacts:
    """Return an instance with its scope's settings under `config`."""
    fields.setdefault("name", id)
    return InstanceFacts(
        id=id,
        scope=scope,
        effective_status=status,
        capabilities=frozenset(can),
        subtree_capabilities=frozenset((*can, *below)),
        settings=effective_settings(scope, config or {}),
        **fields,
    )


def decide(
    what: TaskFacts,
    *children: InstanceFacts,
    at: InstanceFacts | None = None,
    terminated: tuple[str, ...] = (),
    created_last_hour: int = 0,
) -> Decision:
    """Return what the instance (a running GLOBAL unless given) decides."""
    where = at or instance("hopper-global", "GLOBAL")
    situation = Situation(what, where, children, frozenset(terminated), created_last_hour)
    return get_behavior_for_scope(where.scope).decide(situation)


def outcome(decision: Decision) -> str:
    """Return the target, the name to create, or the code."""
    if isinstance(decision, SendTo):
        return decision.target_id
    return getattr(decision, "name", "") or str(getattr(decision, "code", ""))
