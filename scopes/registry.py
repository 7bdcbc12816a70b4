"""The factory of behaviours: which class decides for a scope (M24)."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, cast

from django.utils.module_loading import import_string

from instances.config import BEHAVIORS

if TYPE_CHECKING:
    from instances.models import HopperInstance
    from scopes.behaviors.base import ScopeBehavior


def get_behavior_for_scope(scope: str) -> ScopeBehavior:
    """Return the behaviour that scope_behaviors.yaml names for `scope` now."""
    return _made(BEHAVIORS.current().value.root[scope].behavior)


def get_behavior_for_instance(instance: HopperInstance) -> ScopeBehavior:
    """Return the behaviour of an instance, which is its scope's."""
    return get_behavior_for_scope(instance.scope)


@cache
def _made(path: str) -> ScopeBehavior:
    return cast("ScopeBehavior", import_string(path)())
