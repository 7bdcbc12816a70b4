"""Tasks. A task is one row that moves from holder to holder and is never copied (R6)."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from functools import cache
from typing import Any, Self

from django.db import connection, models
from django.db.models.expressions import RawSQL

from hopper import database
from hopper.actors import ID_LENGTH
from hopper.site_key import lease_token
from hopper.words import key_of, keys_of, one_of_each
from instances.choices import (
    STARTED,
    TERMINAL,
    UNFINISHED,
    ChildFailure,
    Completion,
    DependencyRule,
    ExecutorPreference,
    FailurePolicy,
    ParentClose,
    TaskPriority,
    TaskStatus,
)
from instances.models.instance import HopperInstance
from instances.models.tags import register_tag_lookups

AGEING = timedelta(minutes=30)
_STEPS_TO_HIGH = {
    TaskPriority.URGENT: 0,
    TaskPriority.HIGH: 0,
    TaskPriority.MEDIUM: 1,
    TaskPriority.LOW: 2,
}

CLAIM_ORDER_SQL = "queue_urgent DESC, queue_at, id"
"""The order of claims (R22)."""

KEY_LENGTH = 500
"""The most bytes of one key. PostgreSQL refuses an index entry of more than 2704 bytes."""

_WORDS = ("tags", "required_capabilities")

UNREAD = "\n"
"""The key of a list that is too long. A search by keys must compare such lists themselves."""


def each_word_once(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return the values of fields; in a list of words each word once, as first typed (R25)."""
    return {name: one_of_each(value) if name in _WORDS else value for name, value in values.items()}


def kind_key(capability_keys: Sequence[str], tag_keys: Sequence[str]) -> str:
    """Return the keys of capabilities and tags as one key, by which a claim finds its tasks."""
    keys = (list_key(capability_keys), list_key(tag_keys))
    return UNREAD if UNREAD in keys else "\f".join(keys)


def list_key(keys: Sequence[str]) -> str:
    """Return the sorted keys of words as one key, "" for none. The length is counted in bytes."""
    key = "\n".join(keys)
    return UNREAD if len(key.encode()) > KEY_LENGTH else key


_IN_QUEUE = models.Q(
    status=TaskStatus.PENDING, ready=True, route_due=False, offered_to__isnull=True
)
"""The condition of a task that is claimable now or at a later time."""

_TIMES = ("not_before", "retry_at")
"""The columns with a time before which a task is not claimable."""


class TaskQuerySet(models.QuerySet["Task"]):
    """Chainable reads of tasks."""

    def open(self) -> TaskQuerySet:
        """Tasks that are not done, failed or cancelled."""
        return self.filter(status__in=UNFINISHED)

    def started(self) -> TaskQuerySet:
        """Tasks in work: claimed or in progress."""
        return self.filter(status__in=STARTED)

    def leased(self) -> TaskQuerySet:
        """Tasks under a lease. Hand work has no lease."""
        return self.started().filter(lease_seconds__isnull=False)

    def dead_letters(self) -> TaskQuerySet:
        """Tasks that failed for good and are not discarded (R15)."""
        return self.filter(status=TaskStatus.FAILED, discarded_at__isnull=True)

    def awaiting_escalation(self) -> TaskQuerySet:
        """Tasks that failed at their holder and wait for their escalation (R15)."""
        return self.filter(route_due=True, waiting__code="AwaitingEscalation")

    def in_queue(self) -> TaskQuerySet:
        """Tasks that are claimable now or at a later time."""
        return self.filter(_IN_QUEUE)

    def claimable(self, now: datetime | RawSQL) -> TaskQuerySet:
        """Tasks that a worker may claim at their holder now (R21, R23)."""
        come = (
            models.Q((f"{time}__isnull", True)) | models.Q((f"{time}__lte", now)) for time in _TIMES
        )
        return self.in_queue().filter(*come)

    def in_subtree(self, instance_id: str, *, named: bool = False) -> TaskQuerySet:
        """Tasks held by the instance or by an instance below; `named` as for `ids`."""
        return self.filter(instance__in=HopperInstance.objects.under(instance_id).ids(named=named))


def condition_sql(tasks: TaskQuerySet) -> str:
    """Return the condition of a queryset as SQL. The values in the condition must be texts."""
    compiler = tasks.query.get_compiler(connection=connection)
    sql, words = tasks.query.where.as_sql(compiler, connection)
    return str(sql % tuple(f"'{word}'" for word in words))


@cache
def claimable_sql() -> str:
    """Return the condition of `claimable` as SQL; the moment is the parameter `now`."""
    return condition_sql(Task.objects.claimable(RawSQL("%%(now)s", ())))


class Task(models.Model):
    """A piece of work. `instance` is its holder, `origin` its first holder.

    JSON: `tags` and `required_capabilities` are lists of strings, `context` any object, `result`
    any value, `waiting` the stored part of the reason (R26): {code, detail, object, since, until}.
    `key` names a child among the children of its parent. `unique_among` is the id of the instance
    or the actor among whose open tasks `unique_key` is unique (R20). `lease_holder` is the id of
    the actor that claimed the task. `project_key`, `tag_keys` and `capability_keys` are the forms
    in which words are compared (R25).
    """

    id = models.CharField(primary_key=True, max_length=64)
    title = models.CharField(max_length=500)
    description = models.TextField(default="", blank=True)
    project = models.CharField(max_length=200, default="", blank=True)
    tags = models.JSONField(default=list, blank=True)
    priority = models.CharField(
        max_length=8, choices=TaskPriority.choices, default=TaskPriority.MEDIUM
    )
    required_capabilities = models.JSONField(default=list, blank=True)
    requester = models.CharField(max_length=200, default="", blank=True)
    owner = models.CharField(max_length=200, default="", blank=True)
    source = models.CharField(max_length=200, default="", blank=True)
    external_id = models.CharField(max_length=500, default="", blank=True)
    external_url = models.CharField(max_length=2000, default="", blank=True)
    external_platform = models.CharField(max_length=200, default="", blank=True)
    conversation_id = models.CharField(max_length=500, default="", blank=True)
    traceparent = models.CharField(max_length=55, default="", db_default="", blank=True)
    context = models.JSONField(default=dict, blank=True)
    task_type = models.CharField(max_length=100, default="", blank=True)
    complexity = models.PositiveSmallIntegerField(null=True, blank=True)
    executor_preference = models.CharField(
        max_length=16, choices=ExecutorPreference.choices, default=ExecutorPreference.ANY
    )
    estimated_effort = models.CharField(max_length=100, default="", blank=True)
    velocity_requirement = models.CharField(max_length=100, default="", blank=True)
    not_before = models.DateTimeField(null=True, blank=True)
    due_at = models.DateTimeField(null=True, blank=True)
    unique_key = models.CharField(max_length=200, null=True, blank=True)  # noqa: DJ001
    unique_among = models.CharField(
        max_length=ID_LENGTH, default="", db_default="", blank=True, editable=False
    )
    max_attempts = models.PositiveSmallIntegerField(null=True, blank=True)
    max_runtime_seconds = models.PositiveIntegerField(null=True, blank=True)
    dependency_rule = models.CharField(
        max_length=12, choices=DependencyRule.choices, default=DependencyRule.DONE
    )

    status = models.CharField(max_length=16, choices=TaskStatus.choices, default=TaskStatus.PENDING)
    instance = models.ForeignKey(
        HopperInstance,
        null=True,
        blank=True,
        on_delete=models.PROTECT,
        related_name="tasks",
        db_index=False,
    )
    origin = models.ForeignKey(
        HopperInstance, null=True, blank=True, on_delete=models.PROTECT, related_name="+"
    )
    offered_to = models.ForeignKey(
        HopperInstance,
        null=True,
        blank=True,
        on_delete=models.PROTECT,
        related_name="offered_tasks",
        db_index=False,
    )
    parent = models.ForeignKey(
        "self",
        null=True,
        blank=True,
        on_delete=models.PROTECT,
        related_name="children",
        db_index=False,
    )
    root = models.ForeignKey("self", on_delete=models.PROTECT, related_name="+")
    epoch = models.PositiveIntegerField(default=1)
    attempt = models.PositiveIntegerField(default=0)
    failures = models.PositiveIntegerField(default=0)
    route_due = models.BooleanField(default=False)
    return_to = models.ForeignKey(
        HopperInstance,
        null=True,
        blank=True,
        on_delete=models.PROTECT,
        related_name="+",
        db_index=False,
    )
    asked = models.PositiveSmallIntegerField(default=0)
    ready = models.BooleanField(default=True)
    waiting = models.JSONField(default=dict, blank=True)

    project_key = models.CharField(max_length=600, default="", blank=True, editable=False)
    tag_keys = models.JSONField(default=list, blank=True, editable=False)
    capability_keys = models.JSONField(default=list, blank=True, editable=False)
    queue_urgent = models.BooleanField(default=False)
    queue_at = models.DateTimeField()
    cap_key = models.CharField(max_length=KEY_LENGTH, default="", blank=True)
    kind_key = models.CharField(max_length=2 * KEY_LENGTH + 1, default=UNREAD, blank=True)
    retry_at = models.DateTimeField(null=True, blank=True)

    worker = models.CharField(max_length=200, default="", blank=True)
    lease_holder = models.CharField(max_length=150, default="", blank=True)
    lease_seconds = models.PositiveIntegerField(null=True, blank=True)
    lease_expires_at = models.DateTimeField(null=True, blank=True)

    completion = models.CharField(max_length=8, choices=Completion.choices, default=Completion.AUTO)
    failure_policy = models.CharField(
        max_length=12, choices=FailurePolicy.choices, default=FailurePolicy.WAIT_ALL
    )
    quorum = models.PositiveIntegerField(default=1)
    decomposed = models.BooleanField(default=False)
    failure_means = models.CharField(
        max_length=12, choices=ChildFailure.choices, default=ChildFailure.AS_PARENT
    )
    on_parent_close = models.CharField(
        max_length=8, choices=ParentClose.choices, default=ParentClose.CANCEL
    )
    key = models.CharField(max_length=200, null=True, blank=True)  # noqa: DJ001
    result = models.JSONField(null=True, blank=True)
    error = models.TextField(default="", blank=True)
    created_by = models.CharField(max_length=150, default="")
    created_by_id = models.CharField(max_length=ID_LENGTH, default="", db_default="", blank=True)
    created_at = models.DateTimeField()
    updated_at = models.DateTimeField()
    started_at = models.DateTimeField(null=True, blank=True)
    finished_at = models.DateTimeField(null=True, blank=True)
    discarded_at = models.DateTimeField(null=True, blank=True)

    objects = TaskQuerySet.as_manager()

    _row: Mapping[str, Any] = {}

    class Meta:
        indexes = (
            # The claim: claimable tasks in the order of R22.
            models.Index(
                fields=["instance", "-queue_urgent", "queue_at", "id"],
                condition=_IN_QUEUE,
                name="task_claim",
            ),
            # The claim of a worker with capabilities: the same order for each key of capabilities.
            models.Index(
                fields=["instance", "cap_key", "-queue_urgent", "queue_at", "id"],
                condition=_IN_QUEUE,
                name="task_claim_fitting",
            ),
            # The same for a claim that also asks for tags.
            models.Index(
                fields=["instance", "kind_key", "-queue_urgent", "queue_at", "id"],
                condition=_IN_QUEUE,
                name="task_claim_kind",
            ),
            # For the sweep and the audit. Not on lease_expires_at: heartbeats stay HOT updates.
            models.Index(
                fields=["instance"],
                condition=models.Q(status__in=STARTED),
                name="task_started",
            ),
            models.Index(fields=["id"], condition=models.Q(route_due=True), name="task_route_due"),
            models.Index(
                fields=["id"],
                condition=models.Q(ready=False, status=TaskStatus.PENDING),
                name="task_not_ready",
            ),
            models.Index(
                fields=["id"],
                condition=models.Q(status=TaskStatus.FAILED, discarded_at__isnull=True),
                name="task_dead_letter",
            ),
            models.Index(
                fields=["due_at"],
                condition=models.Q(due_at__isnull=False) & ~models.Q(status__in=TERMINAL),
                name="task_due",
            ),
            models.Index(fields=["instance", "status", "id"], name="task_instance_status"),
            # Most tasks are done, without an offer and without a parent. They take no entry.
            models.Index(
                fields=["status", "id"],
                condition=~models.Q(status=TaskStatus.DONE),
                name="task_not_done",
            ),
            models.Index(
                fields=["offered_to"],
                condition=models.Q(offered_to__isnull=False),
                name="task_offered",
            ),
            models.Index(
                fields=["parent"], condition=models.Q(parent__isnull=False), name="task_parent"
            ),
            models.Index(fields=["project_key", "id"], name="task_project"),
        )
        constraints = (
            models.UniqueConstraint(
                fields=["unique_among", "unique_key"],
                condition=models.Q(unique_key__isnull=False) & ~models.Q(status__in=TERMINAL),
                name="task_unique_key_once",
            ),
            # A repeated decomposition with the same keys creates no child twice (R13).
            models.UniqueConstraint(
                fields=["parent", "key"],
                condition=models.Q(key__isnull=False),
                name="task_key_under_parent",
            ),
            # A lease exists only for a task in work (I7).
            models.CheckConstraint(
                condition=models.Q(lease_seconds__isnull=True) | models.Q(status__in=STARTED),
                name="task_lease_only_while_started",
            ),
            # Only a pending task with a holder and without an offer is ever due (R9).
            models.CheckConstraint(
                condition=models.Q(route_due=False)
                | models.Q(
                    status=TaskStatus.PENDING, instance__isnull=False, offered_to__isnull=True
                ),
                name="task_due_only_when_it_can_move",
            ),
            # An answered task goes back only while it moves (R11, I23).
            models.CheckConstraint(
                condition=models.Q(return_to__isnull=True)
                | models.Q(route_due=True)
                | models.Q(offered_to__isnull=False),
                name="task_goes_back_only_while_it_moves",
            ),
        )

    def __str__(self) -> str:
        return f"{self.id} {self.title}"

    @classmethod
    def from_db(
        cls, db: str | None, field_names: Collection[str], values: Collection[Any], **more: Any
    ) -> Self:
        """Read a task and remember its values, so that a save writes only changed columns."""
        task = super().from_db(db, field_names, values, **more)
        task._row = dict(zip(field_names, values, strict=False))
        return task

    def changed_fields(self) -> list[models.Field[Any, Any]]:
        """Return the fields that differ from the values last read or written.

        JSON values are compared, so they are replaced and never changed in place.
        """
        return [
            field
            for field in self._meta.concrete_fields
            if not field.primary_key and self._differs(field.attname)
        ]

    def remember(self, written: Iterable[models.Field[Any, Any]]) -> None:
        """Remember the values that were just written."""
        values = {field.attname: getattr(self, field.attname) for field in written}
        self._row = {**self._row, **values}

    def _differs(self, attname: str) -> bool:
        if attname not in self.__dict__:
            return False
        return attname not in self._row or self._row[attname] != self.__dict__[attname]

    @property
    def is_terminal(self) -> bool:
        """Whether the task is done, failed or cancelled."""
        return self.status in TERMINAL

    @property
    def has_live_lease(self) -> bool:
        """Whether the task has a lease. The lease may have expired before the sweep."""
        return self.lease_seconds is not None

    @property
    def lease_token(self) -> str | None:
        """The token of the lease, None without one. No column holds the token (R21)."""
        return lease_token(self.pk, self.attempt, self.epoch) if self.has_live_lease else None

    @property
    def awaits_escalation(self) -> bool:
        """Whether the task failed for good at its holder and waits for its escalation (R15)."""
        return self.route_due and self.waiting_code == "AwaitingEscalation"

    def end_lease(self) -> None:
        """Clear the lease on the object. The caller saves the task and ends the attempt."""
        self.lease_holder = ""
        self.lease_seconds = None
        self.lease_expires_at = None

    def queue_from(self, since: datetime) -> None:
        """Set the ageing key (R22), and the keys of project, capabilities and tags (R25).

        A task ages from `since`, or from its `not_before` if that is later.
        """
        self.queue_urgent = self.priority == TaskPriority.URGENT
        since = max(since, self.not_before or since)
        self.queue_at = since + self.handicap
        self.project_key = key_of(self.project)
        self.tag_keys = keys_of(self.tags)
        self.capability_keys = keys_of(self.required_capabilities)
        self.cap_key = list_key(self.capability_keys)
        self.kind_key = kind_key(self.capability_keys, self.tag_keys)

    @property
    def handicap(self) -> timedelta:
        """The time that a task of high priority may come later and stand beside this one (R22)."""
        return AGEING * _STEPS_TO_HIGH[TaskPriority(self.priority)]

    def wait(self, code: str, now: datetime | None = None, **details: Any) -> None:
        """Set the stored reason on the object (R26). An empty code clears the reason."""
        self.waiting = {}
        if code:
            since = (now or database.now()).isoformat()
            self.waiting = {"code": code, "since": since, **details}

    @property
    def waiting_code(self) -> str:
        """The code of the stored reason, or "" if the reason is derived at each read."""
        return str(self.waiting.get("code", ""))


register_tag_lookups()


class TaskDependency(models.Model):
    """`task` may be claimed only when `depends_on` is done."""

    task = models.ForeignKey(
        Task, on_delete=models.CASCADE, related_name="dependencies", db_index=False
    )
    depends_on = models.ForeignKey(Task, on_delete=models.PROTECT, related_name="dependants")

    class Meta:
        constraints = (
            models.UniqueConstraint(fields=["task", "depends_on"], name="dependency_once"),
            models.CheckConstraint(
                condition=~models.Q(task=models.F("depends_on")), name="dependency_not_on_itself"
            ),
        )

    def __str__(self) -> str:
        return f"{self.task_id} after {self.depends_on_id}"
