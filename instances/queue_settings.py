"""The settings of a queue, read where they are needed: a command that only lists loads none."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from instances.settings import QueueSettings


def queue_settings(scope: str, config: Mapping[str, Any]) -> QueueSettings:
    """Return the settings of an instance's queue: its own `config` over those of its scope."""
    from instances.settings import QUEUE

    return QUEUE.of(scope, config)


def escalates_failures(scope: str, config: Mapping[str, Any]) -> bool:
    """Return whether an instance escalates a task that failed for good (R15)."""
    from instances.settings import FAILURE

    return FAILURE.of(scope, config).on_failure == "escalate"
