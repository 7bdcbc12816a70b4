"""The words of fields: scopes, statuses, types, priorities, and the rules for children."""

from __future__ import annotations

from django.db import models


class HopperScope(models.TextChoices):
    """The kind of an instance. R1 says which scopes may stand under which."""

    GLOBAL = "GLOBAL", "Global"
    PROJECT = "PROJECT", "Project"
    ORCHESTRATION = "ORCHESTRATION", "Orchestration"
    PERSONAL = "PERSONAL", "Personal"
    FAMILY = "FAMILY", "Family"
    EVENT = "EVENT", "Event"
    FEDERATED = "FEDERATED", "Federated"


class InstanceStatus(models.TextChoices):
    """The life of an instance (R2)."""

    CREATED = "created", "created"
    STARTING = "starting", "starting"
    RUNNING = "running", "running"
    STOPPING = "stopping", "stopping"
    STOPPED = "stopped", "stopped"
    PAUSED = "paused", "paused"
    ERROR = "error", "error"
    TERMINATED = "terminated", "terminated"


class InstanceType(models.TextChoices):
    """Whether an instance is permanent, temporary or one run (R2)."""

    PERSISTENT = "persistent", "persistent"
    EPHEMERAL = "ephemeral", "ephemeral"
    TEMPORARY = "temporary", "temporary"


class TaskStatus(models.TextChoices):
    """The life of a task (R19)."""

    PENDING = "pending", "pending"
    CLAIMED = "claimed", "claimed"
    IN_PROGRESS = "in_progress", "in progress"
    BLOCKED = "blocked", "blocked"
    DONE = "done", "done"
    FAILED = "failed", "failed"
    CANCELLED = "cancelled", "cancelled"


TERMINAL = (TaskStatus.DONE, TaskStatus.FAILED, TaskStatus.CANCELLED)
STARTED = (TaskStatus.CLAIMED, TaskStatus.IN_PROGRESS)
UNFINISHED = (TaskStatus.PENDING, *STARTED, TaskStatus.BLOCKED)
"""The statuses before the end. A condition names these: an index leads to them past ended tasks."""


class TaskPriority(models.TextChoices):
    """The urgency of a task. Waiting raises low to medium and medium to high (R22)."""

    LOW = "low", "low"
    MEDIUM = "medium", "medium"
    HIGH = "high", "high"
    URGENT = "urgent", "urgent"


class ExecutorPreference(models.TextChoices):
    """The kind of hands that should do a task (R9)."""

    ANY = "any", "any"
    HUMAN = "human", "human"
    ORCHESTRATION = "orchestration", "orchestration"


class Completion(models.TextChoices):
    """The fate of a decomposed task when its children are done (R13)."""

    AUTO = "auto", "closes with its children"
    RESUME = "resume", "returns to its holder"


class FailurePolicy(models.TextChoices):
    """The rule by which failed children decide the end of their parent (R14)."""

    WAIT_ALL = "wait_all", "wait for all"
    FAIL_FAST = "fail_fast", "fail at once"
    BEST_EFFORT = "best_effort", "done if the quorum is"
    RESUME = "resume", "let the holder decide"


class ChildFailure(models.TextChoices):
    """The effect of this child's failure on its parent (R14)."""

    AS_PARENT = "as_parent", "by the policy of the parent"
    WAIT_ALL = "wait_all", "wait for all"
    FAIL_FAST = "fail_fast", "fail at once"
    BEST_EFFORT = "best_effort", "done if the quorum is"
    RESUME = "resume", "let the holder decide"


class ParentClose(models.TextChoices):
    """The fate of an open child when its parent ends (R16)."""

    CANCEL = "cancel", "is cancelled too"
    ABANDON = "abandon", "goes on by itself"


class DependencyRule(models.TextChoices):
    """Which ends of its predecessors let a task begin (R23)."""

    DONE = "done", "done alone"
    ANY_TERMINAL = "any_terminal", "any end"


class AttemptOutcome(models.TextChoices):
    """The outcome of a lease (R21). An open attempt has no outcome."""

    COMPLETED = "completed", "completed"
    FAILED = "failed", "failed"
    RELEASED = "released", "released"
    EXPIRED = "expired", "expired"
    EVICTED = "evicted", "evicted"
    CANCELLED = "cancelled", "cancelled"
    ASKED = "asked", "asked"


class QuestionState(models.TextChoices):
    """The life of a question (R11); only an open one changes."""

    OPEN = "open", "open"
    ANSWERED = "answered", "answered"
    EXPIRED = "expired", "expired"
    SET_ASIDE = "set_aside", "set aside"
    WITHDRAWN = "withdrawn", "withdrawn"
    CANCELLED = "cancelled", "cancelled"


class Role(models.TextChoices):
    """The rights that a grant gives at an instance and below (docs/reference/api.md)."""

    VIEWER = "viewer", "viewer"
    WORKER = "worker", "worker"
    OPERATOR = "operator", "operator"
    ADMIN = "admin", "admin"


class WaitingCode(models.TextChoices):
    """The reasons why an unfinished task waits, the most pressing first (R26)."""

    UNROUTABLE = "Unroutable"
    CAPABILITY_GAP = "CapabilityGap"
    HOP_LIMIT = "HopLimit"
    AMBIGUOUS_TARGET = "AmbiguousTarget"
    EXPLICIT_TARGET_MISSING = "ExplicitTargetMissing"
    EXPLICIT_TARGET_REFUSED = "ExplicitTargetRefused"
    DEPENDENCY_FAILED = "DependencyFailed"
    INPUT_REQUIRED = "InputRequired"
    HOLDER_NOT_STARTED = "HolderNotStarted"
    HOLDER_PAUSED = "HolderPaused"
    HOLDER_STOPPED = "HolderStopped"
    HOLDER_ERROR = "HolderError"
    ANCESTOR_PAUSED = "AncestorPaused"
    ANCESTOR_STOPPED = "AncestorStopped"
    ANCESTOR_ERROR = "AncestorError"
    TARGET_PAUSED = "TargetPaused"
    ROUTING = "Routing"
    AWAITING_ACCEPTANCE = "AwaitingAcceptance"
    AWAITING_ESCALATION = "AwaitingEscalation"
    WAITING_DEPENDENCIES = "WaitingDependencies"
    WAITING_CHILDREN = "WaitingChildren"
    AT_CAPACITY = "AtCapacity"
    QUEUE_POSITION = "QueuePosition"
    NOT_BEFORE = "NotBefore"
    RETRY_BACKOFF = "RetryBackoff"
    IN_PROGRESS = "InProgress"
    READY_FOR_WORKER = "ReadyForWorker"
    MANUAL_QUEUE = "ManualQueue"
    AWAITING_TRIAGE = "AwaitingTriage"
    UNASSIGNED = "Unassigned"


PLACING_BLOCKS = frozenset(
    {
        WaitingCode.UNROUTABLE,
        WaitingCode.CAPABILITY_GAP,
        WaitingCode.HOP_LIMIT,
        WaitingCode.AMBIGUOUS_TARGET,
        WaitingCode.EXPLICIT_TARGET_MISSING,
        WaitingCode.EXPLICIT_TARGET_REFUSED,
    }
)
"""Blocks that placing sets and a new routing lifts (R9). People set and lift the other blocks."""

ATTENTION = PLACING_BLOCKS | {WaitingCode.DEPENDENCY_FAILED, WaitingCode.INPUT_REQUIRED}
"""The first tier of R26: the reasons of tasks in status blocked, and only of these."""


class Confidence(models.TextChoices):
    """The confidence of the author of a lesson."""

    LOW = "low", "low"
    MEDIUM = "medium", "medium"
    HIGH = "high", "high"
