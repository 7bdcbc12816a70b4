"""The settings of decisions and offers: keys, defaults, and the scopes that may get offers."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from functools import cache
from typing import Annotated, Any, Literal

from pydantic import Field

from hopper.config.files import CONFIGURATION
from hopper.config.registry import BEHAVIORS, POLICIES, Part
from hopper.config.sections import Section, Words
from hopper.protocol import PARENTS
from instances.choices import HopperScope
from scopes.decisions import Situation

MAX_OFFERS = 16
"""The most offers in one epoch; after them the task is blocked as HopLimit (R10)."""

Scope = Annotated[HopperScope, Field(strict=False)]
Scopes = Annotated[tuple[Scope, ...], Field(strict=False)]


class BehaviorSettings(Section):
    """The dotted path of the class that decides for a scope."""

    behavior: str


class RoutingSettings(Section):
    """Settings of routing (R9, R25): the first two for GLOBAL and FAMILY, the rest for PROJECT."""

    unmatched: Literal["hold", "balance"] = "hold"
    auto_create_projects: bool = False
    orchestration_threshold: Annotated[int, Field(ge=1, le=6)] = 3
    automatable_types: Words = ()
    create_orchestrations: bool = True
    max_orchestrations: Annotated[int, Field(ge=0, le=10_000)] = 5
    manual_fallback: bool = True


class OfferSettings(Section):
    """Settings of answering offers (the first two) and of making offers (R8 to R10).

    `delegate_to` narrows the scopes of targets and never widens R1. `max_offers` limits the offers
    of one task in an epoch. With `fallback` none a refusal ends the offers.
    """

    accept: Literal["auto", "manual"] = "auto"
    offer_seconds: Annotated[int, Field(ge=1, le=31_536_000)] = 900
    delegate_to: Scopes | None = None
    fallback: Literal["next", "none"] = "next"
    max_offers: Annotated[int, Field(ge=1, le=MAX_OFFERS)] = MAX_OFFERS


BEHAVIOR = Part(BehaviorSettings, BEHAVIORS, own=False)
ROUTING = Part(RoutingSettings, BEHAVIORS, "routing")
OFFERS = Part(OfferSettings, POLICIES)


def scopes_below(scope: str, settings: Mapping[str, Any]) -> frozenset[str]:
    """Return the scopes of children that an instance may hand work to: R1, narrowed by policy."""
    legal, allowed = _children(scope), settings["delegate_to"]
    return legal if allowed is None else legal & frozenset(allowed)


@cache
def _children(scope: str) -> frozenset[str]:
    """Return the scopes of the children that R1 allows."""
    return frozenset(child for child, parents in PARENTS.items() if scope in parents)


def config_digest(situation: Situation) -> str:
    """Return the digest of the configuration behind a decision. Equal digests mean equal rules."""
    text = json.dumps(dict(situation.instance.settings), sort_keys=True, default=list)
    return hashlib.sha256((text + CONFIGURATION.current().digest).encode()).hexdigest()[:16]
