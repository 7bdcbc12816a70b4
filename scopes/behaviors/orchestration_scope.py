"""ORCHESTRATION: a task that arrived is in the workers' queue and stays there (M22)."""

from __future__ import annotations

from scopes.behaviors.base import ScopeBehavior
from scopes.decisions import Decision, Situation, Stay


class OrchestrationScopeBehavior(ScopeBehavior):
    """The queue itself does the rest: claim, lease, retry (R15, R21, R22)."""

    def decide(self, situation: Situation) -> Decision:
        """Return that the task waits here for a worker."""
        words = f"{situation.instance.id} executes: the task waits for a worker"
        return Stay((words,), code="ReadyForWorker")
