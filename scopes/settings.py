"""The effective configuration of an instance."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from hopper.config.document import SHIPPED, Place
from hopper.config.files import CONFIGURATION
from hopper.protocol import PARENTS
from instances.config import (
    BEHAVIORS,
    POLICIES,
    OfferSettings,
    QueueSettings,
    RoutingSettings,
    config_errors,
    own_values,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from scopes.decisions import Situation

__all__ = [
    "config_digest",
    "config_errors",
    "effective_settings",
    "scopes_below",
    "traced_settings",
]

SETTINGS = frozenset(
    {*QueueSettings.model_fields, *RoutingSettings.model_fields, *OfferSettings.model_fields}
)
"""The keys of an instance's `config` that are laid over the files' values."""


def effective_settings(scope: str, config: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the queue, routing and delegation settings of an instance (M17).

    Shipped defaults, then the operator's files, then the instance's own `config`.
    """
    section, policy = BEHAVIORS.current().value.root[scope], POLICIES.current().value.root[scope]
    found: dict[str, Any] = {}
    for part, base in (
        (QueueSettings, section.queue),
        (RoutingSettings, section.routing),
        (OfferSettings, policy),
    ):
        found |= {key: getattr(base, key) for key in part.model_fields}
        found |= own_values(config, part)
    return found


@dataclass(frozen=True)
class Traced:
    """A setting and where it comes from: "shipped", "instance", or the operator's file and line."""

    value: Any
    source: str
    line: int | None = None


def traced_settings(scope: str, config: Mapping[str, Any]) -> dict[str, Traced]:
    """Return every effective setting of an instance, and its scope's behavior, with its source."""
    behaviors, policies = BEHAVIORS.current(), POLICIES.current()
    places = {key: behaviors.place(scope, "queue", key) for key in QueueSettings.model_fields}
    places |= {key: behaviors.place(scope, "routing", key) for key in RoutingSettings.model_fields}
    places |= {key: policies.place(scope, key) for key in OfferSettings.model_fields}
    places["behavior"] = behaviors.place(scope, "behavior")
    values = {
        **effective_settings(scope, config),
        "behavior": behaviors.value.root[scope].behavior,
    }
    own = {
        key
        for part in (QueueSettings, RoutingSettings, OfferSettings)
        for key in own_values(config, part)
    }
    return {
        key: Traced(values[key], "instance") if key in own else _traced(values[key], places[key])
        for key in sorted(values)
    }


def scopes_below(scope: str, settings: Mapping[str, Any]) -> frozenset[str]:
    """Return the scopes of children that an instance may hand work to: R1, narrowed by policy."""
    legal = frozenset(child for child, parents in PARENTS.items() if scope in parents)
    allowed = settings["delegate_to"]
    return legal if allowed is None else legal & frozenset(allowed)


def _traced(value: Any, place: Place) -> Traced:
    return Traced(value, place.source, None if place.source == SHIPPED else place.line)


def config_digest(situation: Situation) -> str:
    """Return the digest of the configuration a decision was made under: same digest, same rules."""
    text = json.dumps(dict(situation.instance.settings), sort_keys=True, default=list)
    return hashlib.sha256((text + CONFIGURATION.current().digest).encode()).hexdigest()[:16]
