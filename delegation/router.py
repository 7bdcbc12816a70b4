"""The InstanceRouter: where a task would go, and who may be asked (M15). Reads only."""

from __future__ import annotations

from delegation.situations import situation_of
from instances.choices import InstanceStatus
from instances.models import HopperInstance, Task
from instances.models.instance import lineages
from instances.states import ALLOWANCES, effective_status
from scopes.config import effective_settings, scopes_below
from scopes.decisions import Decision, SendTo
from scopes.registry import get_behavior_for_instance
from scopes.services.deciding import decide


class InstanceRouter:
    """Answers questions about routing; moves nothing."""

    def decide(self, task: Task, source: HopperInstance) -> Decision:
        """Return what `source` decides about the task now, with all its reasons (R9)."""
        return decide(get_behavior_for_instance(source), situation_of(task, source))

    def find_target_instance(self, task: Task, source: HopperInstance) -> HopperInstance | None:
        """Return the child that the task would be offered to, or None where it would not be."""
        decision = self.decide(task, source)
        if not isinstance(decision, SendTo):
            return None
        return HopperInstance.objects.filter(pk=decision.target_id).first()

    def can_delegate_to(self, source: HopperInstance, target: HopperInstance) -> bool:
        """Return whether `target` is a child that takes offers now and policy allows (R1, R3)."""
        settings = effective_settings(source.scope, source.config)
        if target.parent_id != source.pk or target.scope not in scopes_below(
            source.scope, settings
        ):
            return False
        return ALLOWANCES[target.effective_status()].offer != "no"

    def get_available_instances(self, scope: str) -> list[HopperInstance]:
        """Return the instances of a scope that are effectively running, oldest first (R4)."""
        rows = list(
            HopperInstance.objects.filter(scope=scope, status=InstanceStatus.RUNNING).order_by(
                "created_at", "pk"
            )
        )
        lines = lineages(row.pk for row in rows)
        return [
            row
            for row in rows
            if effective_status(row.status, [one.status for one in lines[row.pk][:-1]])
            == InstanceStatus.RUNNING
        ]
