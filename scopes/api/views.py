"""Decisions and feedback of a task, and the rules in force."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.utils import timezone
from drf_spectacular.utils import extend_schema
from rest_framework import status
from rest_framework.response import Response

from instances.api.answers import Answering
from instances.api.permissions import seen_task
from scopes.api.serializers import (
    DecisionSerializer,
    FeedbackSerializer,
    NewFeedback,
    RuleSerializer,
)
from scopes.config import RULES
from scopes.models import Feedback, RoutingDecision

if TYPE_CHECKING:
    from rest_framework.request import Request


class TaskDecisionViewSet(Answering):
    """What was decided for a task, hop by hop."""

    queryset = RoutingDecision.objects.all()
    serializer_class = DecisionSerializer
    filter_backends = ()

    @extend_schema(responses=DecisionSerializer(many=True))
    def list(self, request: Request, pk: str) -> Response:
        """List the decisions about a task, in order."""
        seen_task(self.actor, pk)
        rows = RoutingDecision.objects.for_task(pk)
        return self.paged(rows, lambda page: list(DecisionSerializer(page, many=True).data))


class TaskFeedbackViewSet(Answering):
    """Whether a task was in the right hands."""

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
        """Say whether a task was a good match; it attaches to the decision that placed it last."""
        seen_task(self.actor, pk, "worker")
        data: dict[str, Any] = self.body(NewFeedback)
        placed = RoutingDecision.objects.for_task(pk).filter(verdict="send").last()
        made = Feedback.objects.create(
            task_id=pk,
            decision=placed,
            created_by=self.actor.name,
            created_at=timezone.now(),
            **data,
        )
        return Response(FeedbackSerializer(made).data, status=status.HTTP_201_CREATED)


class RuleViewSet(Answering):
    """The rules in force; they come from files only."""

    queryset = RoutingDecision.objects.none()
    serializer_class = RuleSerializer
    pagination_class = None
    filter_backends = ()

    @extend_schema(responses=RuleSerializer(many=True), filters=False)
    def list(self, request: Request) -> Response:
        """List the routing rules, in the order of the file."""
        rules = RULES.current().value.rules
        return Response(
            [
                {
                    "id": rule.id,
                    "type": rule.type,
                    "name": rule.name,
                    "description": rule.description,
                    "destination": rule.destination or "",
                    "weight": rule.weight,
                    "enabled": rule.enabled,
                    "priority": rule.priority,
                }
                for rule in rules
            ]
        )
