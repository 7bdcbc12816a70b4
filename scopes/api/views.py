"""Decisions and feedback of a task, and the rules in force."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from rest_framework import status
from rest_framework.request import Request
from rest_framework.response import Response

from hopper.actors import Actor
from hopper.config.files import CONFIGURATION
from hopper.config.registry import traced_settings
from hopper.rest.described import extend_schema
from hopper.rest.pagination import Page
from instances.api.base import Answering
from instances.api.permissions import seen_instance, seen_task
from scopes.api.serializers import (
    DecisionSerializer,
    FeedbackSerializer,
    InstanceSettingsSerializer,
    NewFeedback,
    RuleSerializer,
    decisions_for,
)
from scopes.feedback import Judged, give_feedback, judgements
from scopes.models import Feedback, RoutingDecision
from scopes.rules.engine import RULES
from scopes.rules.schema import AnyRule
from scopes.settings import BEHAVIOR


class TaskDecisionViewSet(Answering):
    """The decisions about a task, hop by hop."""

    queryset = RoutingDecision.objects.all()
    serializer_class = DecisionSerializer
    filter_backends = ()

    @extend_schema(responses=DecisionSerializer(many=True))
    def list(self, request: Request, pk: str) -> Response:
        """List the decisions about a task, in order."""
        seen_task(self.actor, pk)
        rows = RoutingDecision.objects.for_task(pk)
        return self.paged(rows, lambda page: _seen_by(self.actor, page))


def _seen_by(actor: Actor, page: Sequence[RoutingDecision]) -> list[Any]:
    return decisions_for(actor, list(DecisionSerializer(page, many=True).data))


class TaskFeedbackViewSet(Answering):
    """The feedback on a task."""

    queryset = Feedback.objects.all()
    serializer_class = FeedbackSerializer
    filter_backends = ()

    @extend_schema(responses=FeedbackSerializer(many=True))
    def list(self, request: Request, pk: str) -> Response:
        """List the feedback on a task, oldest first."""
        seen_task(self.actor, pk)
        rows = Feedback.objects.filter(task=pk).order_by("id")
        return self.paged(rows, lambda page: list(FeedbackSerializer(page, many=True).data))

    @extend_schema(request=NewFeedback, responses={201: FeedbackSerializer})
    def create(self, request: Request, pk: str) -> Response:
        """Store feedback on a task with the decision that placed the task."""
        task = seen_task(self.actor, pk, "worker")
        data: dict[str, Any] = self.body(NewFeedback)
        made = give_feedback(task, data, actor=self.actor)
        return Response(FeedbackSerializer(made).data, status=status.HTTP_201_CREATED)


class RulePage(Page):
    """A page of rules, with the other contents of the files and the faults in them."""

    def get_paginated_response(self, data: Any) -> Response:
        """Return the page around its rules."""
        response = super().get_paginated_response(data)
        rules = RULES.current()
        response.data |= {
            "default_destination": rules.value.default_destination,
            "digest": rules.digest,
            "problems": [asdict(problem) for problem in CONFIGURATION.problems],
        }
        return response

    def get_paginated_response_schema(self, schema: dict[str, Any]) -> dict[str, Any]:
        """Return the page as OpenAPI has it."""
        page = super().get_paginated_response_schema(schema)
        text = {"type": "string"}
        fault = {"file": text, "line": {"type": "integer"}, "key": text, "message": text}
        page["properties"] |= {
            "default_destination": {"type": "string", "nullable": True},
            "digest": {"type": "string", "description": "Changes with the rules."},
            "problems": {
                "type": "array",
                "description": "Why the files are refused; an older configuration is in force.",
                "items": {"type": "object", "properties": fault},
            },
        }
        return page


class RuleViewSet(Answering):
    """The rules in force. Rules come from files only."""

    queryset = RoutingDecision.objects.none()
    serializer_class = RuleSerializer
    pagination_class = RulePage
    filter_backends = ()

    @extend_schema(responses=RuleSerializer(many=True), filters=False)
    def list(self, request: Request) -> Response:
        """List the routing rules, in the order of the file."""
        file, judged = RULES.current().value, judgements()
        rules = list(zip(file.ids, file.rules, strict=True))
        return self.paged(rules, lambda page: [_shown(name, rule, judged) for name, rule in page])


def _shown(name: str, rule: AnyRule, judged: Mapping[str, Judged]) -> dict[str, Any]:
    found = judged.get(name, Judged())
    return {
        "id": name,
        "type": rule.type,
        "name": rule.name,
        "description": rule.description,
        "destination": rule.destination or "",
        "weight": rule.weight,
        "enabled": rule.enabled,
        "priority": rule.priority,
        "scopes": list(rule.scopes),
        "judged": found.judged,
        "good_matches": found.good,
        "accuracy": found.accuracy,
    }


class SettingsViewSet(Answering):
    """The effective settings of an instance."""

    queryset = RoutingDecision.objects.none()
    serializer_class = InstanceSettingsSerializer
    pagination_class = None
    filter_backends = ()

    @extend_schema(responses=InstanceSettingsSerializer)
    def retrieve(self, request: Request, pk: str) -> Response:
        """Show the effective settings of an instance, each with its source."""
        instance = seen_instance(self.actor, pk)
        traced = {
            **traced_settings(instance.scope, instance.config),
            "behavior": BEHAVIOR.traced(instance.scope, "behavior"),
        }
        found = {name: asdict(traced[name]) for name in sorted(traced)}
        return Response({"instance_id": pk, "scope": instance.scope, "settings": found})
