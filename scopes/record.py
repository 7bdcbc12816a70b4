"""Decisions and situations as stored JSON."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from hopper.actors import Actor
from hopper.config.registry import effective_settings
from hopper.ids import new_id
from scopes.decisions import (
    Decision,
    InstanceFacts,
    SendTo,
    Situation,
    TaskFacts,
    described,
)
from scopes.models import RoutingDecision
from scopes.settings import config_digest

_TIMES = frozenset({"last_assigned_at", "started_at"})
_SETS = frozenset({"capabilities", "subtree_capabilities"})


@dataclass(frozen=True)
class Decided:
    """A decision, the situation that it was made from, and the path of the behaviour."""

    situation: Situation
    decision: Decision
    behavior: str


def decision_row(
    decided: Decided,
    *,
    epoch: int,
    hop: int,
    elapsed_ms: float,
    actor: Actor,
    now: datetime,
    refused: str = "",
) -> RoutingDecision:
    """Return the unsaved row of a decision; `refused` is the code that overrules it, or ""."""
    values = described(decided.decision)
    if refused:
        values |= {"verdict": "refuse", "code": refused}
    if values["verdict"] != "send":
        values["target_id"] = None
    return RoutingDecision(
        **values,
        **_about(decided, epoch, hop, elapsed_ms, actor),
        situation=stored(decided.situation),
        created_at=now,
    )


def decision_json(
    decided: Decided, *, epoch: int, hop: int, elapsed_ms: float, actor: Actor
) -> dict[str, str]:
    """Return the same row, but for its moment, as JSON: all but two large parts, and these.

    The parts are `told`, the decision, and `situation`. The texts of most candidates are known.
    """
    about = _about(decided, epoch, hop, elapsed_ms, actor)
    if not isinstance(decided.decision, SendTo):
        about["target_id"] = None
    return {
        "decision": json.dumps(about),
        "told": decided.decision.text,
        "situation": _stored_text(decided.situation),
    }


def _about(
    decided: Decided, epoch: int, hop: int, elapsed_ms: float, actor: Actor
) -> dict[str, Any]:
    return {
        "id": new_id("dec"),
        "task_id": decided.situation.task.id,
        "instance_id": decided.situation.instance.id,
        "epoch": epoch,
        "hop": hop,
        "config_digest": config_digest(decided.situation),
        "elapsed_ms": elapsed_ms,
        "behavior": decided.behavior,
        "actor": actor.name,
    }


def stored(situation: Situation) -> dict[str, Any]:
    """Return a situation as JSON, defaults left out, so that it can be decided again.

    Of settings only an instance's own are kept: the files' are what a replay may change.
    """
    return {
        "task": situation.task.recorded,
        "instance": situation.instance.recorded,
        "candidates": [one.recorded for one in situation.candidates],
        "terminated_names": sorted(situation.terminated_names),
        "created_last_hour": situation.created_last_hour,
    }


def _stored_text(situation: Situation) -> str:
    """Return `stored` as the text of JSON."""
    small = {
        "terminated_names": sorted(situation.terminated_names),
        "created_last_hour": situation.created_last_hour,
    }
    parts = [f'"task": {situation.task.text}', f'"instance": {situation.instance.text}']
    parts.append(f'"candidates": [{", ".join(one.text for one in situation.candidates)}]')
    return f"{{{', '.join(parts)}, {json.dumps(small)[1:]}"


def restored(data: Mapping[str, Any]) -> Situation:
    """Return the situation that was stored, its settings as the configuration in force has them."""
    return Situation(
        task=TaskFacts(**{key: _tuple(value) for key, value in data["task"].items()}),
        instance=_facts(data["instance"]),
        candidates=tuple(_facts(candidate) for candidate in data["candidates"]),
        terminated_names=frozenset(data["terminated_names"]),
        created_last_hour=data["created_last_hour"],
    )


def _facts(data: Mapping[str, Any]) -> InstanceFacts:
    values = {key: _tuple(value) for key, value in data.items()}
    values |= {key: frozenset(data[key]) for key in _SETS & data.keys()}
    values |= {key: datetime.fromisoformat(data[key]) for key in _TIMES & data.keys()}
    settings = effective_settings(values["scope"], values.get("own", {}))
    return InstanceFacts(**values, settings=settings)


def _tuple(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value
