"""ORCHESTRATION: an arrived task stays in the workers' queue."""

from __future__ import annotations

from scopes.behaviors.base import ScopeBehavior
from scopes.decisions import Decision, Situation, Stay


class OrchestrationScopeBehavior(ScopeBehavior):
    """Keeps every task. The queue does the rest: claim, lease, retry (R15, R21, R22)."""

    def decide(self, situation: Situation) -> Decision:
        """Return the decision to keep the task for a worker."""
        words = f"{situation.instance.id} executes: the task waits for a worker"
        return Stay((words,), code="ReadyForWorker")
