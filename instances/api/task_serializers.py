"""Serializers of tasks, attempts and events, and of the bodies that create and change them."""

from __future__ import annotations

from typing import Any

from django.core.exceptions import FieldDoesNotExist
from rest_framework import serializers

from hopper.rest.described import extend_schema_field
from hopper.rest.fields import (
    Anything,
    Flag,
    Line,
    Number,
    Object,
    ShownSerializer,
    StrictList,
    StrictSerializer,
    Text,
    Time,
    Whole,
    Word,
    Words,
)
from hopper.rest.thread_serializers import as_json
from hopper.task_fields import BY_NAME, CREATE, EDIT, TASK_FIELDS, TaskField, set_at
from instances.api.instance_serializers import CountsSerializer
from instances.choices import TaskStatus, WaitingCode
from instances.models import Attempt, Comment, Event, Question, Task
from instances.tasks.leases import MAX_LEASE_SECONDS, MIN_LEASE_SECONDS
from instances.tasks.status_by_hand import SETTABLE


class ReasonSerializer(serializers.Serializer[Any]):
    """Why a task waits (R26)."""

    code = serializers.ChoiceField(choices=WaitingCode.choices)
    detail = serializers.CharField(allow_blank=True)
    object = serializers.CharField(allow_null=True)
    since = serializers.DateTimeField(allow_null=True)
    until = serializers.DateTimeField(allow_null=True)
    who = serializers.CharField(allow_null=True)


def _known(serializer: serializers.BaseSerializer[Any]) -> dict[str, Any]:
    """Return the serializer's context: the task field `context` hides that name."""
    return dict(serializer.context)


class QuestionSerializer(ShownSerializer[Question]):
    """A question about a task, and its answer (R11)."""

    instance_id = serializers.CharField()
    choices = serializers.ListField(child=serializers.CharField())

    class Meta:
        model = Question
        fields = (
            "id",
            "state",
            "text",
            "choices",
            "default",
            "until",
            "answer",
            "answered_by",
            "answered_at",
            "asked_by",
            "asked_at",
            "raised_at",
            "instance_id",
            "epoch",
            "attempt",
        )


class CommentSerializer(ShownSerializer[Comment]):
    """A comment on a task."""

    class Meta:
        model = Comment
        fields = ("id", "text", "created_by", "created_at")


class NewComment(StrictSerializer):
    """The body of a new comment."""

    ignored = frozenset(CommentSerializer.Meta.fields)

    text = Line(max_length=100_000)


REPORT = ("progress", "checkpoint", "reported_at")
"""The fields of a worker's last report on its attempt."""


class TaskSerializer(ShownSerializer[Task]):
    """A task. The context holds its reason, its predecessors and its children."""

    instance_id = serializers.CharField(allow_null=True)
    origin_instance_id = serializers.CharField(source="origin_id", allow_null=True)
    offered_to = serializers.CharField(source="offered_to_id", allow_null=True)
    parent_id = serializers.CharField(allow_null=True)
    root_id = serializers.CharField()
    depends_on = serializers.SerializerMethodField()
    waiting_on = serializers.SerializerMethodField()
    children = serializers.SerializerMethodField()
    questions = serializers.SerializerMethodField()
    return_to = serializers.CharField(source="return_to_id", allow_null=True)
    # A field of the answer, of the same name as an attribute of serializers.
    context = Object()  # type: ignore[assignment]
    result = Anything()

    class Meta:
        model = Task
        fields = tuple(field.name for field in TASK_FIELDS if field.shown)

    def get_fields(self) -> dict[str, Any]:
        """Return the fields, each described as in the field list."""
        fields = super().get_fields()
        for name in fields.keys() & BY_NAME.keys():
            fields[name].help_text = BY_NAME[name].words
        return fields

    @extend_schema_field(serializers.ListField(child=serializers.CharField()))
    def get_depends_on(self, task: Task) -> list[str]:
        """Return the ids of the predecessors."""
        return list(_known(self)["depends_on"].get(task.pk, []))

    @extend_schema_field(ReasonSerializer(allow_null=True))
    def get_waiting_on(self, task: Task) -> dict[str, Any] | None:
        """Return the one reason why the task waits; None for a finished task."""
        reason: dict[str, Any] | None = _known(self)["waiting"].get(task.pk)
        return reason and in_utc(reason)

    @extend_schema_field(CountsSerializer)
    def get_children(self, task: Task) -> dict[str, int]:
        """Return how many children of each status the task has."""
        return dict(_known(self)["children"][task.pk])

    @extend_schema_field(QuestionSerializer(many=True))
    def get_questions(self, task: Task) -> list[Any]:
        """Return the questions about it, oldest first."""
        rows = _known(self)["questions"].get(task.pk, ())
        return as_json(QuestionSerializer, rows)


class WholeTaskSerializer(TaskSerializer):
    """One task, with the last report of its last attempt: progress 0 to 1, checkpoint and time."""

    progress = serializers.FloatField(allow_null=True)
    checkpoint = Anything(allow_null=True)
    reported_at = serializers.DateTimeField(allow_null=True)

    class Meta(TaskSerializer.Meta):
        fields = (*TaskSerializer.Meta.fields, *REPORT)


def in_utc(reason: dict[str, Any]) -> dict[str, Any]:
    """Return a reason with times that end in Z, like all other times."""
    times = {name: reason[name] for name in ("since", "until") if reason.get(name)}
    return {**reason, **{name: str(time).replace("+00:00", "Z") for name, time in times.items()}}


class LeaseSerializer(serializers.Serializer[Any]):
    """A lease. Only the worker that claimed the task sees the token.

    `seconds` is the length of the lease; a worker counts on its own clock, which may differ from
    the server's. `max_runtime_seconds` limits the attempt. `checkpoint` is the last checkpoint of
    the attempt before.
    """

    token = serializers.CharField()
    seconds = serializers.IntegerField()
    max_runtime_seconds = serializers.IntegerField(allow_null=True)
    expires_at = serializers.DateTimeField()
    attempt = serializers.IntegerField()
    checkpoint = Anything(allow_null=True)


class ClaimedTaskSerializer(TaskSerializer):
    """A task with the lease that was just granted."""

    lease = LeaseSerializer()

    class Meta(TaskSerializer.Meta):
        fields = (*TaskSerializer.Meta.fields, "lease")


class EmptyQueueSerializer(serializers.Serializer[Any]):
    """Why a claim returned no task (R22)."""

    code = serializers.CharField()
    detail = serializers.CharField()


class ClaimSerializer(serializers.Serializer[Any]):
    """The answer to a claim."""

    tasks = ClaimedTaskSerializer(many=True)
    waiting = EmptyQueueSerializer(allow_null=True)


MAX_TIMEOUT_SECONDS = 365 * 86_400
"""The longest time-out of a question."""

_READ_ONLY = frozenset(WholeTaskSerializer.Meta.fields) | {"lease"}


class TaskBody(StrictSerializer):
    """A body with the fields of a task that a caller may set at `moment`."""

    moment = EDIT
    ignored = _READ_ONLY
    former = {
        "metadata": "unknown field: give the values in context, a JSON object",
        "blocks": "unknown field: give depends_on to the task that waits",
        "delegated_by": "unknown field: the caller is known by the credentials",
    }

    def get_fields(self) -> dict[str, Any]:
        """Return the fields of the field list, then those of the class."""
        listed = {field.name: _input(field, self.moment) for field in set_at(self.moment)}
        return {**listed, **super().get_fields()}


_INPUTS: dict[str, type[serializers.Field[Any, Any, Any, Any]]] = {
    "text": Text,
    "line": Line,
    "word": Word,
    "words": Words,
    "whole": Whole,
    "time": Time,
    "object": Object,
}


def _input(field: TaskField, moment: str) -> serializers.Field[Any, Any, Any, Any]:
    """Return the serializer field that reads the values of a field of a task."""
    limits: dict[str, Any] = {"max_length": field.length}
    if field.kind == "words":
        limits = {"length": field.length, "most": field.most}
    elif field.kind == "whole":
        limits = {"min_value": field.least, "max_value": field.most}
    elif field.kind == "word":
        limits = {"choices": _labelled(field)}
    required = field.required and moment != EDIT
    if field.nullable:
        limits["allow_null"] = True
    given = {name: limit for name, limit in limits.items() if limit is not None}
    return _INPUTS[field.kind](required=required, help_text=field.words, **given)


def _labelled(field: TaskField) -> Any:
    """Return the choices with the labels of the column, where the field is one."""
    try:
        # A relation has no choices; no listed word is a relation.
        return Task._meta.get_field(field.name).choices  # type: ignore[union-attr]
    except FieldDoesNotExist:
        return field.choices


class NewTaskBody(TaskBody):
    """The body that creates a task."""

    moment = CREATE


class ManyTasks(StrictList):
    """The body that creates several tasks."""

    child = NewTaskBody()

    def __init__(self, **options: Any) -> None:
        super().__init__(**{"min_length": 1, "max_length": 1000, **options})


_FIXED = {
    "instance_id": "use POST /tasks/{id}/delegate",
    "parent_id": "it is set when the task is created",
    "unique_key": "it is set when the task is created",
    "status": "use POST /tasks/{id}/status, or a call such as claim, complete or cancel",
}
"""The fields that an edit cannot change, each with the way to go."""


class TaskChanges(TaskBody):
    """The body that edits a task; another status, holder, parent or key is refused."""

    def get_fields(self) -> dict[str, Any]:
        """Return the editable fields, and the fixed fields, which may only repeat their values."""
        fixed = {name: _input(BY_NAME[name], EDIT) for name in _FIXED if name != "status"}
        status = Text(required=False, max_length=100, help_text="The present one, or none.")
        return {**super().get_fields(), **fixed, "status": status}

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        """Return the changes. Raises ValidationError for another value of a fixed field."""
        task: Task = _known(self)["task"]
        for name, hint in _FIXED.items():
            present = getattr(task, name)
            if attrs.pop(name, present) != present:
                words = f"is {present} and cannot be changed by an edit: {hint}"
                raise serializers.ValidationError({name: words.format(id=task.pk)})
        return attrs


class StatusBody(StrictSerializer):
    """The status that a person sets by hand (R19)."""

    status = Word(choices=[(word.value, word.label) for word in SETTABLE])
    owner = Text(required=False, max_length=200)
    reason = Text(required=False, max_length=10_000)
    force = Flag(required=False)


class ClaimOne(StrictSerializer):
    """The worker that claims, and the length of its lease."""

    worker = Line(max_length=200)
    lease_seconds = Whole(
        required=False, min_value=MIN_LEASE_SECONDS, max_value=MAX_LEASE_SECONDS, allow_null=True
    )


class _Report(StrictSerializer):
    token = Line(required=False, allow_null=True, max_length=64)
    worker = Text(required=False, max_length=200)


class Start(_Report):
    """The worker has started to work."""


class Heartbeat(_Report):
    """A heartbeat, with progress and a checkpoint."""

    token = Line(max_length=64)
    checkpoint = Anything(required=False)
    progress = Number(required=False, allow_null=True, min_value=0, max_value=1)


class Complete(_Report):
    """The worker has done the task."""

    result = Anything(required=False)


class Fail(_Report):
    """The worker has failed the task."""

    error = Text(required=False, max_length=100_000)
    retryable = Flag(required=False)


class Release(_Report):
    """The worker gives the task back."""

    reason = Text(required=False, max_length=10_000)


class Ask(_Report):
    """A question about the task."""

    question = Line(max_length=10_000)
    choices = Words(required=False, length=500, most=20)
    default = Line(required=False, allow_null=True, max_length=10_000)
    timeout_seconds = Whole(
        required=False, allow_null=True, min_value=1, max_value=MAX_TIMEOUT_SECONDS
    )


class AnswerQuestion(StrictSerializer):
    """The answer to a question; `return` false does not send the task back to the asker."""

    question_id = Line(max_length=64)
    answer = Line(max_length=10_000)

    def get_fields(self) -> dict[str, Any]:
        """Return the fields; one has the name of a Python keyword."""
        return {**super().get_fields(), "return": Flag(required=False)}


class Cancel(StrictSerializer):
    """Why the task is cancelled. `preview` only describes the changes."""

    preview = Flag(required=False)
    reason = Text(required=False, max_length=10_000)


class Retry(StrictSerializer):
    """Why the task is opened again."""

    reason = Text(required=False, max_length=10_000)


class Discard(Retry):
    """Why the failed task is discarded."""


class EventSerializer(ShownSerializer[Event]):
    """One line of history; its id is its position in the feed."""

    id = serializers.IntegerField(source="number")
    task_id = serializers.CharField(allow_null=True)
    instance_id = serializers.CharField(allow_null=True)
    # A field of the answer, of the same name as an attribute of serializers.
    data = Object()  # type: ignore[assignment]

    class Meta:
        model = Event
        fields = (
            "id",
            "kind",
            "at",
            "actor",
            "actor_id",
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


class AttemptSerializer(ShownSerializer[Attempt]):
    """One lease and how it ended."""

    instance_id = serializers.CharField(allow_null=True)
    checkpoint = Anything()
    artifact = Anything()
    more_artifacts = serializers.ListField(child=Anything())

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
            "reported_at",
            "artifact",
            "more_artifacts",
        )


class NextStepSerializer(serializers.Serializer[Any]):
    """The next step for the task: a command and a request below /api/v1."""

    command = serializers.CharField()
    request = serializers.CharField()


class WhySerializer(serializers.Serializer[Any]):
    """The one reason why the task waits, in words and as data."""

    task_id = serializers.CharField()
    status = serializers.ChoiceField(choices=TaskStatus.choices)
    words = serializers.CharField()
    waiting_on = ReasonSerializer(allow_null=True)
    next = NextStepSerializer(allow_null=True)
