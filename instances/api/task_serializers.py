"""The shapes of tasks, attempts and events on the wire, and of the bodies that change them."""

from __future__ import annotations

from typing import Any

from rest_framework import serializers

from hopper.rest.described import extend_schema_field
from hopper.rest.fields import (
    Anything,
    Flag,
    Line,
    Number,
    Object,
    StrictSerializer,
    Text,
    Time,
    Whole,
    Word,
    Words,
)
from instances.api.instance_serializers import CountsSerializer
from instances.choices import (
    ChildFailure,
    Completion,
    DependencyRule,
    ExecutorPreference,
    FailurePolicy,
    ParentClose,
    TaskPriority,
    TaskStatus,
    WaitingCode,
)
from instances.models import Attempt, Event, Task
from instances.tasks.leases import MAX_LEASE_SECONDS, MIN_LEASE_SECONDS
from instances.tasks.status_by_hand import SETTABLE

Slug = {"max_length": 100}


class ReasonSerializer(serializers.Serializer[Any]):
    """Why a task waits (R26)."""

    code = serializers.ChoiceField(choices=WaitingCode.choices)
    detail = serializers.CharField(allow_blank=True)
    object = serializers.CharField(allow_null=True)
    since = serializers.DateTimeField(allow_null=True)
    until = serializers.DateTimeField(allow_null=True)
    who = serializers.CharField(allow_null=True)


def _known(serializer: serializers.BaseSerializer[Any]) -> dict[str, Any]:
    """Return what the page's context holds; a field of ours hides the name on the serializer."""
    return dict(serializer.context)


class TaskSerializer(serializers.ModelSerializer[Task]):
    """A task; its reason, its predecessors and its children come from the page's context."""

    instance_id = serializers.CharField(allow_null=True)
    origin_instance_id = serializers.CharField(source="origin_id", allow_null=True)
    offered_to = serializers.CharField(source="offered_to_id", allow_null=True)
    parent_id = serializers.CharField(allow_null=True)
    root_id = serializers.CharField()
    depends_on = serializers.SerializerMethodField()
    waiting_on = serializers.SerializerMethodField()
    children = serializers.SerializerMethodField()
    context = Object()  # type: ignore[assignment]
    result = Anything()

    class Meta:
        model = Task
        fields = (
            "id",
            "title",
            "description",
            "status",
            "priority",
            "project",
            "tags",
            "instance_id",
            "origin_instance_id",
            "offered_to",
            "parent_id",
            "root_id",
            "depends_on",
            "ready",
            "required_capabilities",
            "requester",
            "owner",
            "source",
            "external_id",
            "external_url",
            "external_platform",
            "conversation_id",
            "context",
            "task_type",
            "complexity",
            "executor_preference",
            "estimated_effort",
            "velocity_requirement",
            "not_before",
            "unique_key",
            "max_attempts",
            "epoch",
            "attempt",
            "worker",
            "lease_expires_at",
            "completion",
            "failure_policy",
            "quorum",
            "key",
            "failure_means",
            "on_parent_close",
            "dependency_rule",
            "waiting_on",
            "result",
            "error",
            "children",
            "created_by",
            "created_at",
            "updated_at",
            "started_at",
            "finished_at",
            "discarded_at",
        )
        read_only_fields = fields

    @extend_schema_field(serializers.ListField(child=serializers.CharField()))
    def get_depends_on(self, task: Task) -> list[str]:
        """Return the ids of the predecessors."""
        return list(_known(self)["depends_on"].get(task.pk, []))

    @extend_schema_field(ReasonSerializer(allow_null=True))
    def get_waiting_on(self, task: Task) -> dict[str, Any] | None:
        """Return the one reason why it waits, null for a finished task."""
        reason: dict[str, Any] | None = _known(self)["waiting"].get(task.pk)
        return reason and in_utc(reason)

    @extend_schema_field(CountsSerializer)
    def get_children(self, task: Task) -> dict[str, int]:
        """Return how many children of each status it has."""
        return dict(_known(self)["children"][task.pk])


def in_utc(reason: dict[str, Any]) -> dict[str, Any]:
    """Return a reason with its times as all others are written: ending in Z."""
    times = {name: reason[name] for name in ("since", "until") if reason.get(name)}
    return {**reason, **{name: str(time).replace("+00:00", "Z") for name, time in times.items()}}


class LeaseSerializer(serializers.Serializer[Any]):
    """A lease; the token is shown to its claimer only.

    `checkpoint` is where the attempt before got to.
    """

    token = serializers.CharField()
    expires_at = serializers.DateTimeField()
    attempt = serializers.IntegerField()
    checkpoint = Anything(allow_null=True)


class ClaimedTaskSerializer(TaskSerializer):
    """A task with the lease that was just granted."""

    lease = LeaseSerializer()

    class Meta(TaskSerializer.Meta):
        fields = (*TaskSerializer.Meta.fields, "lease")  # type: ignore[assignment]
        read_only_fields = fields  # type: ignore[assignment]


class EmptyQueueSerializer(serializers.Serializer[Any]):
    """Why a claim came back empty (R22)."""

    code = serializers.CharField()
    detail = serializers.CharField()


class ClaimSerializer(serializers.Serializer[Any]):
    """The answer to a claim."""

    tasks = ClaimedTaskSerializer(many=True)
    waiting = EmptyQueueSerializer(allow_null=True)


_READ_ONLY = frozenset(TaskSerializer.Meta.fields) | {"lease"}


class TaskFields(StrictSerializer):
    """What a caller may say of a task, whether new or edited."""

    ignored = _READ_ONLY

    title = Line(max_length=500)
    description = Text(required=False, max_length=10_000_000)
    project = Text(required=False, max_length=200)
    tags = Words(required=False)
    priority = Word(choices=TaskPriority.choices, required=False)
    required_capabilities = Words(required=False, length=100, most=50)
    depends_on = Words(required=False, length=64, most=1000)
    requester = Text(required=False, max_length=200)
    owner = Text(required=False, max_length=200)
    source = Text(required=False, max_length=200)  # type: ignore[assignment]
    external_id = Text(required=False, max_length=500)
    external_url = Text(required=False, max_length=2000)
    external_platform = Text(required=False, max_length=200)
    conversation_id = Text(required=False, max_length=500)
    context = Object(required=False)  # type: ignore[assignment]
    task_type = Text(required=False, max_length=100)
    complexity = Whole(required=False, allow_null=True, min_value=1, max_value=5)
    executor_preference = Word(choices=ExecutorPreference.choices, required=False)
    estimated_effort = Text(required=False, max_length=100)
    velocity_requirement = Text(required=False, max_length=100)
    not_before = Time(required=False, allow_null=True)
    max_attempts = Whole(required=False, allow_null=True, min_value=1, max_value=1000)
    failure_means = Word(choices=ChildFailure.choices, required=False)
    on_parent_close = Word(choices=ParentClose.choices, required=False)
    dependency_rule = Word(choices=DependencyRule.choices, required=False)


class NewTaskBody(TaskFields):
    """The body that creates a task."""

    instance_id = Line(required=False, allow_null=True, **Slug)
    parent_id = Line(required=False, allow_null=True, max_length=64)
    unique_key = Line(required=False, allow_null=True, max_length=200)
    on_conflict = Word(choices=["return_existing", "reject"], required=False)
    completion = Word(choices=Completion.choices, required=False)
    failure_policy = Word(choices=FailurePolicy.choices, required=False)
    quorum = Whole(required=False, min_value=1, max_value=1_000_000)


class ManyTasks(serializers.ListSerializer[Any]):
    """The body that creates several tasks."""

    child = NewTaskBody()

    def __init__(self, **options: Any) -> None:
        super().__init__(**{"min_length": 1, "max_length": 1000, **options})


class TaskChanges(TaskFields):
    """The body that edits a task; another holder, parent or key is refused."""

    title = Line(max_length=500, required=False)
    instance_id = Line(required=False, allow_null=True, **Slug)
    parent_id = Line(required=False, allow_null=True, max_length=64)
    unique_key = Line(required=False, allow_null=True, max_length=200)

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        """Return the changes. Raises ValidationError for what only other verbs change."""
        task: Task = _known(self)["task"]
        hints = {"instance_id": "use delegate", "parent_id": "is fixed", "unique_key": "is fixed"}
        for name, hint in hints.items():
            if attrs.pop(name, getattr(task, name)) != getattr(task, name):
                raise serializers.ValidationError({name: f"cannot be changed: {hint}"})
        return attrs


class StatusBody(StrictSerializer):
    """Which status by hand (R19)."""

    status = Word(choices=[(word.value, word.label) for word in SETTABLE])
    owner = Text(required=False, max_length=200)
    reason = Text(required=False, max_length=10_000)
    force = Flag(required=False)


class ClaimOne(StrictSerializer):
    """Who claims."""

    worker = Line(max_length=200)
    lease_seconds = Whole(
        required=False, min_value=MIN_LEASE_SECONDS, max_value=MAX_LEASE_SECONDS, allow_null=True
    )


class _Report(StrictSerializer):
    token = Line(required=False, allow_null=True, max_length=64)
    worker = Text(required=False, max_length=200)


class Start(_Report):
    """Work begins."""


class Heartbeat(_Report):
    """Work goes on."""

    token = Line(max_length=64)
    checkpoint = Anything(required=False)
    progress = Number(required=False, allow_null=True, min_value=0, max_value=1)


class Complete(_Report):
    """Work is done."""

    result = Anything(required=False)


class Fail(_Report):
    """Work failed."""

    error = Text(required=False, max_length=100_000)
    retryable = Flag(required=False)


class Release(_Report):
    """Work is given back."""

    reason = Text(required=False, max_length=10_000)


class Cancel(StrictSerializer):
    """Why it is not needed any more; `preview` only says what cancelling it would do."""

    preview = Flag(required=False)
    reason = Text(required=False, max_length=10_000)


class Retry(StrictSerializer):
    """Why it is worth another try."""

    reason = Text(required=False, max_length=10_000)


class Discard(Retry):
    """Why it needs no retry."""


class EventSerializer(serializers.ModelSerializer[Event]):
    """One line of history."""

    task_id = serializers.CharField(allow_null=True)
    instance_id = serializers.CharField(allow_null=True)
    data = Object()  # type: ignore[assignment]

    class Meta:
        model = Event
        fields = (
            "id",
            "kind",
            "at",
            "actor",
            "task_id",
            "instance_id",
            "delegation_id",
            "epoch",
            "attempt",
            "before",
            "status",
            "holder_id",
            "data",
        )
        read_only_fields = fields


class AttemptSerializer(serializers.ModelSerializer[Attempt]):
    """One lease and how it ended."""

    instance_id = serializers.CharField(allow_null=True)
    checkpoint = Anything()
    artifact = Anything()

    class Meta:
        model = Attempt
        fields = (
            "number",
            "epoch",
            "instance_id",
            "worker",
            "started_at",
            "ended_at",
            "outcome",
            "error",
            "checkpoint",
            "progress",
            "artifact",
        )
        read_only_fields = fields


class NextStepSerializer(serializers.Serializer[Any]):
    """What moves the task on: at the command line, and over HTTP below /api/v1."""

    command = serializers.CharField()
    request = serializers.CharField()


class WhySerializer(serializers.Serializer[Any]):
    """The one reason, in words and as data."""

    task_id = serializers.CharField()
    status = serializers.ChoiceField(choices=TaskStatus.choices)
    words = serializers.CharField()
    waiting_on = ReasonSerializer(allow_null=True)
    next = NextStepSerializer(allow_null=True)
