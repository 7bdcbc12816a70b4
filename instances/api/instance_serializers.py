"""Serializers of instances, and of the bodies that create and change them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rest_framework import serializers

from hopper.rest.described import extend_schema_field
from hopper.rest.fields import (
    Flag,
    Line,
    Object,
    ShownSerializer,
    StrictSerializer,
    Text,
    Time,
    Whole,
    Word,
    Words,
)
from instances.choices import HopperScope, InstanceStatus, InstanceType, Role, TaskStatus
from instances.models import HopperInstance
from instances.tasks.leases import MAX_LEASE_SECONDS, MIN_LEASE_SECONDS

Slug = {"max_length": 100}

MAX_DESCRIPTION = 10_000_000
"""The most characters of a description, as of the description of a task."""


class CountsSerializer(serializers.Serializer[Any]):
    """The number of tasks of each status. `open` counts the unfinished tasks."""

    def get_fields(self) -> dict[str, Any]:
        """Return a count for each status, and the two sums."""
        return {name: serializers.IntegerField() for name in (*TaskStatus.values, "open", "total")}


class InstanceSerializer(ShownSerializer[HopperInstance]):
    """An instance. The context holds the derived values, read once for the page."""

    parent_id = serializers.CharField(allow_null=True)
    depth = serializers.IntegerField()
    effective_status = serializers.SerializerMethodField()
    ancestors = serializers.SerializerMethodField()
    task_counts = serializers.SerializerMethodField()
    config = Object()
    runtime_metadata = Object()

    class Meta:
        model = HopperInstance
        fields: tuple[str, ...] = (
            "id",
            "name",
            "scope",
            "instance_type",
            "status",
            "effective_status",
            "parent_id",
            "ancestors",
            "depth",
            "config",
            "runtime_metadata",
            "description",
            "created_by",
            "created_at",
            "updated_at",
            "started_at",
            "stopped_at",
            "expires_at",
            "task_counts",
        )

    @extend_schema_field(serializers.ChoiceField(choices=InstanceStatus.choices))
    def get_effective_status(self, instance: HopperInstance) -> str:
        """Return the status after inheritance (R4)."""
        return str(self.context["effective"][instance.pk])

    @extend_schema_field(serializers.ListField(child=serializers.CharField()))
    def get_ancestors(self, instance: HopperInstance) -> list[str]:
        """Return the ids of the ancestors, root first."""
        return list(self.context["ancestors"][instance.pk])

    @extend_schema_field(CountsSerializer)
    def get_task_counts(self, instance: HopperInstance) -> dict[str, int]:
        """Return the counts of the tasks that the instance itself holds."""
        return dict(self.context["counts"][instance.pk])


@extend_schema_field({"type": "array", "items": {"$ref": "#/components/schemas/Tree"}})
class _Subtrees(serializers.ListField):
    """The children of a node, each a tree itself."""


class TreeSerializer(InstanceSerializer):
    """A node of the hierarchy: an instance, both counts, and its children, nested likewise."""

    subtree_task_counts = CountsSerializer()
    children = _Subtrees(child=serializers.DictField())

    class Meta(InstanceSerializer.Meta):
        fields = (
            *(name for name in InstanceSerializer.Meta.fields if name != "ancestors"),
            "subtree_task_counts",
            "children",
        )


class Scope(Word):
    """A scope, in any case, as at the command line."""

    def to_internal_value(self, data: Any) -> str:
        """Return the scope in upper case."""
        return super().to_internal_value(data.strip().upper() if isinstance(data, str) else data)


def require_sound_config(data: Mapping[str, Any]) -> None:
    """Raise ValidationError for wrong values of known keys in `config`."""
    # Late: the settings load pydantic, and most calls send no config.
    from hopper.config.registry import config_errors

    wrong = config_errors(data["config"]) if data.get("config") else []
    if wrong:
        raise serializers.ValidationError({f"config.{key}": words for key, words in wrong})


class _InstanceBody(StrictSerializer):
    """The fields that both the creation and an edit of an instance take."""

    ignored = frozenset(InstanceSerializer.Meta.fields) | {"subtree_task_counts", "children"}

    parent_id = Line(required=False, allow_null=True, **Slug)
    config = Object(required=False)
    runtime_metadata = Object(required=False)
    description = Text(required=False, max_length=MAX_DESCRIPTION)
    expires_at = Time(required=False, allow_null=True)


class NewInstance(_InstanceBody):
    """The body that creates an instance."""

    name = Line(max_length=200)
    scope = Scope(choices=HopperScope.choices)
    id = Line(required=False, allow_null=True, **Slug)
    instance_type = Word(choices=InstanceType.choices, required=False)

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        """Return the fields. Raises ValidationError for a wrong config."""
        require_sound_config(attrs)
        return attrs


class InstanceChanges(_InstanceBody):
    """The body that edits an instance. Omitted fields stay; JSON fields are replaced whole."""

    name = Line(required=False, max_length=200)
    id = Line(required=False, **Slug)
    scope = Scope(choices=HopperScope.choices, required=False)
    instance_type = Word(choices=InstanceType.choices, required=False)
    status = Word(choices=InstanceStatus.choices, required=False)

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        """Return the changes. Raises ValidationError for another id or scope, or a wrong config."""
        instance: HopperInstance = self.context["instance"]
        for name in ("id", "scope", "instance_type"):
            present = getattr(instance, name)
            if attrs.pop(name, present) != present:
                words = f"is {present} and is set when the instance is created"
                raise serializers.ValidationError({name: words})
        require_sound_config(attrs)
        return attrs


class Stop(StrictSerializer):
    """The options of a stop. `preview` only describes the changes."""

    preview = Flag(required=False)
    force = Flag(required=False)
    evacuate = Flag(required=False)


class Restart(StrictSerializer):
    """The options of a restart. `force` revokes live leases."""

    force = Flag(required=False)


class Close(StrictSerializer):
    """The options of closing a run: `force` cancels open tasks; `preview` only describes."""

    preview = Flag(required=False)
    force = Flag(required=False)


class Trouble(StrictSerializer):
    """Why the instance is in error."""

    reason = Text(required=False, max_length=10_000)


class ClaimNext(StrictSerializer):
    """A worker's claim at an instance: the wanted tasks and the lease."""

    worker = Line(max_length=200)
    limit = Whole(required=False, min_value=1, max_value=100)
    capabilities = Words(required=False, allow_null=True)
    tags = Words(required=False, allow_null=True)
    lease_seconds = Whole(
        required=False, min_value=MIN_LEASE_SECONDS, max_value=MAX_LEASE_SECONDS, allow_null=True
    )


class SummarySerializer(serializers.Serializer[Any]):
    """The outcome of a run."""

    instance_id = serializers.CharField()
    name = serializers.CharField()
    closed_at = serializers.DateTimeField()
    closed_by = serializers.CharField()
    tasks = serializers.DictField(child=serializers.IntegerField())
    cancelled = serializers.ListField(child=serializers.CharField())
    duration_seconds = serializers.FloatField()


class LastCheckSerializer(serializers.Serializer[Any]):
    """The findings of the last check of the invariants."""

    at = serializers.DateTimeField()
    seconds = serializers.FloatField()
    sound = serializers.BooleanField()
    broken = serializers.ListField(child=serializers.CharField())


class GrantSerializer(serializers.Serializer[Any]):
    """A role at an instance and below it; null stands for everywhere."""

    instance_id = serializers.CharField(allow_null=True)
    role = serializers.ChoiceField(Role.choices)
    may = serializers.ListField(
        child=serializers.CharField(), help_text="What the role may do, in words."
    )


class MeSerializer(serializers.Serializer[Any]):
    """The caller. `kind` is token, account, or local without a credential."""

    name = serializers.CharField()
    kind = serializers.ChoiceField(("token", "account", "local"))
    expires_at = serializers.DateTimeField(allow_null=True)
    grants = GrantSerializer(many=True)


class DashboardSerializer(serializers.Serializer[Any]):
    """The figures of the dashboard."""

    scopes = serializers.DictField(child=serializers.DictField(child=serializers.IntegerField()))
    tasks = serializers.DictField()
    attention = serializers.DictField(child=serializers.IntegerField())
    waiting = serializers.DictField(child=serializers.IntegerField())
    tree_sound = serializers.BooleanField(allow_null=True)
    last_check = LastCheckSerializer(allow_null=True)

    def get_fields(self) -> dict[str, Any]:
        """Return the fields. One field has a name that is a keyword of Python."""
        return {"global": serializers.DictField(allow_null=True), **super().get_fields()}


class OpenQuestionSerializer(serializers.Serializer[Any]):
    """The open question of a task, in brief."""

    id = serializers.CharField()
    text = serializers.CharField()
    choices = serializers.ListField(child=serializers.CharField())
    default = serializers.CharField(allow_null=True)
    asked_by = serializers.CharField()
    instance_id = serializers.CharField()


class StepSerializer(serializers.Serializer[Any]):
    """The command and the request, below /api/v1, that move a task on."""

    command = serializers.CharField()
    request = serializers.CharField()


class WaitingTaskSerializer(serializers.Serializer[Any]):
    """A task that waits for a person."""

    task_id = serializers.CharField()
    title = serializers.CharField()
    status = serializers.CharField()
    priority = serializers.CharField()
    instance_id = serializers.CharField(allow_null=True)
    code = serializers.CharField()
    detail = serializers.CharField(allow_blank=True)
    since = serializers.DateTimeField(allow_null=True)
    until = serializers.DateTimeField(allow_null=True)
    question = OpenQuestionSerializer(allow_null=True)
    next = StepSerializer(allow_null=True)


class WaitingInstanceSerializer(serializers.Serializer[Any]):
    """An instance that waits for a person."""

    instance_id = serializers.CharField()
    name = serializers.CharField()
    code = serializers.CharField()
    detail = serializers.CharField()
    next = StepSerializer()


class AttentionGroupSerializer(serializers.Serializer[Any]):
    """The tasks and instances that the same person can move."""

    who = serializers.CharField()
    tasks = WaitingTaskSerializer(many=True)
    instances = WaitingInstanceSerializer(many=True)


class AttentionSerializer(serializers.Serializer[Any]):
    """Everything that waits for a person; `counts` as on the dashboard."""

    counts = serializers.DictField(child=serializers.IntegerField())
    groups = AttentionGroupSerializer(many=True)


class MetricsSerializer(serializers.Serializer[Any]):
    """The load and the speed of an instance."""

    instance_id = serializers.CharField()
    task_counts = CountsSerializer()
    oldest_waiting_seconds = serializers.FloatField(allow_null=True)
    done_last_hour = serializers.IntegerField()
    done_last_day = serializers.IntegerField()
    in_flight = serializers.IntegerField()
    max_concurrent_tasks = serializers.IntegerField()
    rejections = serializers.IntegerField()
