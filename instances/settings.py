"""The keys of a queue's settings, with defaults and limits."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from hopper.config.registry import BEHAVIORS, POLICIES, Part
from hopper.config.sections import Section, Words


class Purpose(Section):
    """The capabilities (R9) and domains of an instance."""

    capabilities: Words = ()
    domains: Words = ()


class QueueSettings(Section):
    """The limits of one queue; times in seconds (R15, R21, R22)."""

    max_concurrent_tasks: Annotated[int, Field(ge=0, le=1_000_000)] = 10
    max_queued_tasks: Annotated[int, Field(ge=0, le=1_000_000)] = 100
    lease_seconds: Annotated[int, Field(ge=30, le=86_400)] = 300
    max_attempts: Annotated[int, Field(ge=1, le=1000)] = 3
    retry_backoff_seconds: Annotated[float, Field(ge=0, le=86_400)] = 5
    max_runtime_seconds: Annotated[int, Field(ge=1, le=604_800)] | None = None
    stalled_seconds: Annotated[int, Field(ge=1, le=604_800)] | None = 3600
    retention_days: Annotated[int, Field(ge=1, le=36_500)] | None = None


class FailureSettings(Section):
    """Whether a task that failed for good ends here or is escalated to the parent (R15)."""

    on_failure: Literal["fail", "escalate"] = "fail"


QUEUE = Part(QueueSettings, BEHAVIORS, "queue")
FAILURE = Part(FailureSettings, POLICIES)
