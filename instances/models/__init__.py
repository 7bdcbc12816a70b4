"""The tables of instances and tasks, and of their history and access."""

from instances.models.access import AgentToken, Grant, new_actor_id
from instances.models.archive import ArchivedTask, ArchiveFile
from instances.models.attempt import Attempt
from instances.models.comment import Comment
from instances.models.event import Event, EventQuerySet
from instances.models.instance import (
    HopperInstance,
    InstanceLoad,
    InstanceQuerySet,
    LineageRow,
    halted,
    lineages,
)
from instances.models.lesson import Lesson, LessonQuerySet
from instances.models.minute import MinuteCount
from instances.models.question import MAX_QUESTIONS, WITH_ANSWER, Question
from instances.models.records import (
    CheckRecord,
    IdempotencyRecord,
    RequestCount,
    SiteKey,
    SweepRecord,
)
from instances.models.session import AgentSession, SessionLease
from instances.models.task import (
    AGEING,
    CLAIM_ORDER_SQL,
    UNREAD,
    Task,
    TaskDependency,
    TaskQuerySet,
    claimable_sql,
    condition_sql,
    each_word_once,
)
from instances.models.webhook import Delivery, Webhook, WebhookQuerySet

__all__ = [
    "AGEING",
    "CLAIM_ORDER_SQL",
    "MAX_QUESTIONS",
    "UNREAD",
    "WITH_ANSWER",
    "AgentSession",
    "AgentToken",
    "ArchiveFile",
    "ArchivedTask",
    "Attempt",
    "CheckRecord",
    "Comment",
    "Delivery",
    "Event",
    "EventQuerySet",
    "Grant",
    "HopperInstance",
    "IdempotencyRecord",
    "InstanceLoad",
    "InstanceQuerySet",
    "Lesson",
    "LessonQuerySet",
    "LineageRow",
    "MinuteCount",
    "Question",
    "RequestCount",
    "SessionLease",
    "SiteKey",
    "SweepRecord",
    "Task",
    "TaskDependency",
    "TaskQuerySet",
    "Webhook",
    "WebhookQuerySet",
    "claimable_sql",
    "condition_sql",
    "each_word_once",
    "halted",
    "lineages",
    "new_actor_id",
]
