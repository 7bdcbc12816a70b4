"""The shapes of decisions, feedback and rules on the wire."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rest_framework import serializers

from hopper.actors import EVERYWHERE, Actor
from hopper.rest.fields import (
    Anything,
    Flag,
    Number,
    ShownSerializer,
    StrictSerializer,
    Text,
    Whole,
    Words,
)
from instances.api.permissions import visible_instances
from scopes.models import Feedback, RoutingDecision


def decisions_for(actor: Actor, decisions: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return decisions as JSON without the instances that the caller does not see.

    A decision of an invisible instance keeps its verdict and its code. Its reasons, and the
    candidates and the target out of sight, are left out.
    """
    if EVERYWHERE in actor.grants:
        return list(map(dict, decisions))
    seen = set(visible_instances(actor).values_list("pk", flat=True))
    return [
        dict(one)
        if one["instance_id"] in seen
        else {
            **one,
            "reasons": [],
            "target_id": one["target_id"] if one["target_id"] in seen else None,
            "candidates": [two for two in one["candidates"] if two["instance_id"] in seen],
        }
        for one in decisions
    ]


class DecisionSerializer(ShownSerializer[RoutingDecision]):
    """One decision with its candidates, rules and reasons."""

    task_id = serializers.CharField()
    instance_id = serializers.CharField()
    target_id = serializers.CharField(allow_null=True)
    reasons = serializers.ListField(child=serializers.CharField())
    candidates = Anything()
    rules = Anything()

    class Meta:
        model = RoutingDecision
        fields = (
            "id",
            "task_id",
            "instance_id",
            "epoch",
            "hop",
            "verdict",
            "code",
            "target_id",
            "reasons",
            "candidates",
            "rules",
            "rule",
            "confidence",
            "config_digest",
            "elapsed_ms",
            "behavior",
            "actor",
            "created_at",
        )

    @classmethod
    def of_task(cls, task_id: str, epoch: int) -> list[Any]:
        """Return the decisions of one epoch as JSON, in order."""
        rows = RoutingDecision.objects.for_task(task_id).filter(epoch=epoch)
        return list(cls(rows, many=True).data)


class FeedbackSerializer(ShownSerializer[Feedback]):
    """Feedback: was the task in the right hands?"""

    task_id = serializers.CharField()
    decision_id = serializers.CharField(allow_null=True)
    unexpected_blockers = serializers.ListField(child=serializers.CharField())
    required_skills_not_tagged = serializers.ListField(child=serializers.CharField())

    class Meta:
        model = Feedback
        fields = (
            "id",
            "task_id",
            "decision_id",
            "was_good_match",
            "should_have_routed_to",
            "routing_feedback",
            "quality_score",
            "complexity_rating",
            "estimated_duration",
            "actual_duration",
            "required_rework",
            "rework_reason",
            "unexpected_blockers",
            "required_skills_not_tagged",
            "notes",
            "created_by",
            "created_at",
        )


class NewFeedback(StrictSerializer):
    """The body of new feedback. null is as if the field were left out.

    Without `was_good_match`, `should_have_routed_to` answers: no match if it names an instance that
    the task did not come to.
    """

    ignored = frozenset(FeedbackSerializer.Meta.fields)

    was_good_match = Flag(required=False, allow_null=True)
    should_have_routed_to = Text(required=False, allow_null=True, max_length=200)
    routing_feedback = Text(required=False, allow_null=True, max_length=100_000)
    quality_score = Number(required=False, allow_null=True, min_value=0, max_value=5)
    complexity_rating = Whole(required=False, allow_null=True, min_value=1, max_value=5)
    estimated_duration = Text(required=False, allow_null=True, max_length=100)
    actual_duration = Text(required=False, allow_null=True, max_length=100)
    required_rework = Flag(required=False, allow_null=True)
    rework_reason = Text(required=False, allow_null=True, max_length=100_000)
    unexpected_blockers = Words(required=False, allow_null=True, length=1000)
    required_skills_not_tagged = Words(required=False, allow_null=True)
    notes = Text(required=False, allow_null=True, max_length=100_000)

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        """Return the fields that are given."""
        return {name: value for name, value in attrs.items() if value is not None}


class RuleSerializer(serializers.Serializer[Any]):
    """One routing rule in force, with the feedback on the tasks that it sent.

    `judged` counts the answers to "was it a good match", `good_matches` the answers yes;
    `accuracy` is their ratio, 0 to 1, or null without answers.
    """

    id = serializers.CharField()
    type = serializers.CharField()
    name = serializers.CharField()
    description = serializers.CharField(allow_blank=True)
    destination = serializers.CharField(allow_blank=True)
    weight = serializers.FloatField()
    enabled = serializers.BooleanField()
    priority = serializers.IntegerField()
    scopes = serializers.ListField(child=serializers.CharField())
    judged = serializers.IntegerField()
    good_matches = serializers.IntegerField()
    accuracy = serializers.FloatField(allow_null=True)


class SettingSerializer(serializers.Serializer[Any]):
    """A setting with its source: shipped, instance, or an operator's file and line."""

    value = Anything()
    # A field of the answer, of the same name as an attribute of serializers.
    source = serializers.CharField()  # type: ignore[assignment]
    line = serializers.IntegerField(allow_null=True)


class InstanceSettingsSerializer(serializers.Serializer[Any]):
    """The effective settings of an instance, by name."""

    instance_id = serializers.CharField()
    scope = serializers.CharField()
    settings = serializers.DictField(child=SettingSerializer())
