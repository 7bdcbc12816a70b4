"""The tables of instances and tasks, and of their history and access."""

from instances.models.access import AgentToken, Grant
from instances.models.archive import ArchivedTask, ArchiveFile
from instances.models.attempt import Attempt
from instances.models.comment import Comment
from instances.models.event import Event
from instances.models.instance import HopperInstance, InstanceLoad
from instances.models.lesson import Lesson
from instances.models.minute import MinuteCount
from instances.models.question import Question
from instances.models.records import (
    CheckRecord,
    IdempotencyRecord,
    RequestCount,
    SiteKey,
    SweepRecord,
)
from instances.models.session import AgentSession, SessionLease
from instances.models.task import Task, TaskDependency
from instances.models.webhook import Delivery, Webhook

__all__ = [
    "AgentSession",
    "AgentToken",
    "ArchiveFile",
    "ArchivedTask",
    "Attempt",
    "CheckRecord",
    "Comment",
    "Delivery",
    "Event",
    "Grant",
    "HopperInstance",
    "IdempotencyRecord",
    "InstanceLoad",
    "Lesson",
    "MinuteCount",
    "Question",
    "RequestCount",
    "SessionLease",
    "SiteKey",
    "SweepRecord",
    "Task",
    "TaskDependency",
    "Webhook",
]
