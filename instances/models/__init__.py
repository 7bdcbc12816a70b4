"""The tables of instances, tasks and all that happens to them."""

from instances.models.access import AgentToken, Grant
from instances.models.attempt import Attempt
from instances.models.check import CheckRecord
from instances.models.dependency import TaskDependency
from instances.models.event import Event
from instances.models.idempotency import IdempotencyRecord
from instances.models.instance import HopperInstance
from instances.models.lesson import Lesson
from instances.models.load import InstanceLoad
from instances.models.task import Task

__all__ = [
    "AgentToken",
    "Attempt",
    "CheckRecord",
    "Event",
    "Grant",
    "HopperInstance",
    "IdempotencyRecord",
    "InstanceLoad",
    "Lesson",
    "Task",
    "TaskDependency",
]
