"""Serializers of delegations, and of the bodies that create and change them."""

from __future__ import annotations

from typing import Any

from rest_framework import serializers

from delegation.models import TaskDelegation
from hopper.rest.described import extend_schema_field
from hopper.rest.fields import (
    Anything,
    Flag,
    Line,
    ShownSerializer,
    StrictList,
    StrictSerializer,
    Text,
    Word,
)
from hopper.task_fields import CHILD, TERMS
from instances.api.task_serializers import ReasonSerializer, TaskBody, in_utc


class DelegationSerializer(ShownSerializer[TaskDelegation]):
    """One delegation of a task."""

    task_id = serializers.CharField()
    source_instance_id = serializers.CharField(allow_null=True)
    target_instance_id = serializers.CharField(
        allow_null=True, help_text="Null for an instance that the caller may not know."
    )
    result = Anything()
    waiting_on = serializers.SerializerMethodField()

    class Meta:
        model = TaskDelegation
        fields = (
            "id",
            "task_id",
            "source_instance_id",
            "target_instance_id",
            "delegation_type",
            "status",
            "hop",
            "epoch",
            "delegated_at",
            "accepted_at",
            "completed_at",
            "expires_at",
            "result",
            "reason",
            "rejection_reason",
            "notes",
            "delegated_by",
            "waiting_on",
        )

    @extend_schema_field(ReasonSerializer(allow_null=True))
    def get_waiting_on(self, row: TaskDelegation) -> dict[str, Any] | None:
        """Return why the offer waits for an answer (R26); None for an answered offer."""
        reason: dict[str, Any] | None = self.context["waiting"].get(row.pk)
        return reason and in_utc(reason)


class ChainSerializer(serializers.Serializer[Any]):
    """All delegations of a task, in order."""

    task_id = serializers.CharField()
    origin_instance_id = serializers.CharField(allow_null=True)
    current_instance_id = serializers.CharField(allow_null=True)
    total_delegations = serializers.IntegerField()
    delegations = DelegationSerializer(many=True)


class RouteSerializer(serializers.Serializer[Any]):
    """The decisions for a task, hop by hop. `task_id` is null for a task that is only planned."""

    task_id = serializers.CharField(allow_null=True)
    preview = serializers.BooleanField()
    instance_id = serializers.CharField(allow_null=True)
    decisions = serializers.ListField(child=serializers.DictField())


class Delegate(StrictSerializer):
    """The target of a delegation, and the kind of answer."""

    ignored = frozenset({"task_id"})
    former = {"delegated_by": "unknown field: the caller is known by the credentials"}

    target_instance_id = Line(max_length=100)
    delegation_type = Word(choices=["route", "decompose", "reassign"], required=False)
    notes = Text(required=False, max_length=100_000)
    accept = Word(choices=["auto"], required=False, allow_null=True)
    force = Flag(required=False)
    reason = Text(required=False, max_length=10_000)


class Accept(StrictSerializer):
    """The notes of the instance that accepts."""

    notes = Text(required=False, max_length=100_000)


class Reject(StrictSerializer):
    """Why the instance rejects the task."""

    reason = Line(max_length=10_000)


class CompleteDelegation(StrictSerializer):
    """The result of the delegated task."""

    result = Anything(required=False)
    notes = Text(required=False, max_length=100_000)
    token = Line(required=False, allow_null=True, max_length=64)


class Withdraw(StrictSerializer):
    """Why the delegation is cancelled."""

    reason = Text(required=False, max_length=10_000)


class Escalate(StrictSerializer):
    """The question for the parent, sent with the task."""

    reason = Text(required=False, max_length=10_000)
    severity = Text(required=False, max_length=40)
    token = Line(required=False, allow_null=True, max_length=64)
    worker = Text(required=False, max_length=200)


class Child(TaskBody):
    """A child: the fields of a task, its name among its siblings, and its instance."""

    moment = CHILD
    ignored = frozenset()


class Children(StrictList):
    """The children of one call."""

    child = Child()


class Decompose(TaskBody):
    """The children of a task, and how their ends decide the end of their parent."""

    moment = TERMS
    ignored = frozenset()

    children = Children(min_length=1, max_length=1000)
    token = Line(required=False, allow_null=True, max_length=64)
    worker = Text(required=False, max_length=200)
