"""The queue's part of an instance's configuration: limits, leases, retries (R15, R21, R22)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True)
class QueueSettings:
    """Limits and times (seconds) of one queue."""

    max_concurrent_tasks: int = 10
    max_queued_tasks: int = 100
    lease_seconds: int = 300
    max_attempts: int = 3
    retry_backoff_seconds: float = 5


def queue_settings(scope: str, config: Mapping[str, Any]) -> QueueSettings:
    return QueueSettings(
        **{k: v for k, v in config.items() if k in QueueSettings.__dataclass_fields__}
    )
