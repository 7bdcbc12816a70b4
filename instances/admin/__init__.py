"""The admin site of the tree and its tasks: reads everything, writes only through services."""

from __future__ import annotations

from instances.admin.access import GrantAdmin, TokenAdmin
from instances.admin.records import AttemptAdmin, EventAdmin
from instances.admin.tasks import TaskAdmin
from instances.admin.tree import InstanceAdmin

__all__ = ["AttemptAdmin", "EventAdmin", "GrantAdmin", "InstanceAdmin", "TaskAdmin", "TokenAdmin"]
