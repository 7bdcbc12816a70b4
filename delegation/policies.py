"""An instance's delegation policy: how offers to it are answered, whom it may ask (M17)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from instances.config import POLICIES, OfferSettings, PolicySection, own_values
from instances.states import PARENTS

if TYPE_CHECKING:
    from collections.abc import Mapping


def policy_for(scope: str, config: Mapping[str, Any]) -> PolicySection:
    """Return the policy in force: delegation_policies.yaml under the instance's own `config`."""
    base = POLICIES.current().value.root[scope]
    own = own_values(config, OfferSettings)
    return base.model_copy(update=own) if own else base


def scopes_below(scope: str) -> frozenset[str]:
    """Return the scopes that instances of `scope` may hand work to: R1, narrowed by the policy."""
    legal = frozenset(child for child, parents in PARENTS.items() if scope in parents)
    allowed = POLICIES.current().value.root[scope].delegate_to
    return legal if allowed is None else legal & frozenset(allowed)
