"""/status, /me, /attention and /events: over all instances that the caller may see."""

from __future__ import annotations

from rest_framework.request import Request
from rest_framework.response import Response

from hopper.actors import EVERYWHERE
from hopper.errors import Invalid
from hopper.rest.described import OpenApiParameter, extend_schema
from hopper.rest.input import flag, integer
from hopper.rest.pagination import FeedPage
from instances.api.base import Answering
from instances.api.filters import EventFilter
from instances.api.instance_serializers import (
    AttentionSerializer,
    DashboardSerializer,
    MeSerializer,
)
from instances.api.permissions import held_tasks, visible_events, visible_instances
from instances.api.task_serializers import EventSerializer
from instances.attention import Attention
from instances.dashboard import dashboard
from instances.models import AgentToken, Event, HopperInstance, Task

_MOST = 500
"""The most tasks of one answer."""

_LIMIT = {"type": "integer", "minimum": 1, "maximum": _MOST, "default": _MOST}


class StatusViewSet(Answering):
    """The dashboard."""

    queryset = HopperInstance.objects.none()
    query_parameters = {"retrieve": ("under",)}
    pagination_class = None
    filter_backends = ()

    @extend_schema(
        operation_id="status",
        parameters=[OpenApiParameter("under", str, description="Only this subtree.")],
        responses=DashboardSerializer,
    )
    def retrieve(self, request: Request) -> Response:
        """Show how many instances and tasks are in which state, and what needs a person."""
        under = request.query_params.get("under")
        seen = visible_instances(self.actor)
        if under is not None and not seen.filter(pk=under).exists():
            raise Invalid.field("under", "there is no such instance", "unknown")
        everywhere = EVERYWHERE in self.actor.grants
        return Response(dashboard(under, None if everywhere else seen, held_tasks(self.actor)))


class MeViewSet(Answering):
    """The caller."""

    queryset = HopperInstance.objects.none()
    pagination_class = None
    filter_backends = ()

    @extend_schema(operation_id="me", responses=MeSerializer)
    def retrieve(self, request: Request) -> Response:
        """Show who the caller is, by which kind of credential, and what the caller may do where."""
        token = request.auth if isinstance(request.auth, AgentToken) else None
        grants = [
            {
                "instance_id": None if place == EVERYWHERE else place,
                "role": role,
                "may": self.actor.may(role),
            }
            for place, role in sorted(self.actor.grants.items())
        ]
        kind = "token" if token else "local" if request.user.pk is None else "account"
        expires = token.expiry if token else None
        return Response(
            {"name": self.actor.name, "kind": kind, "expires_at": expires, "grants": grants}
        )


class AttentionViewSet(Answering):
    """Tasks and instances that wait for a person."""

    queryset = Task.objects.none()
    query_parameters = {"retrieve": ("under", "mine", "limit")}
    pagination_class = None
    filter_backends = ()

    @extend_schema(
        operation_id="attention",
        parameters=[
            OpenApiParameter("under", str, description="Only this subtree."),
            OpenApiParameter("mine", bool, description="Only what you may move as an operator."),
            OpenApiParameter("limit", _LIMIT, description="The most tasks to list."),
        ],
        responses=AttentionSerializer,
    )
    def retrieve(self, request: Request) -> Response:
        """List what waits for a person, grouped by who can move it, with the next step of each.

        `counts` is of all of it, as on the dashboard.
        """
        under = request.query_params.get("under")
        if under is not None and not visible_instances(self.actor).filter(pk=under).exists():
            raise Invalid.field("under", "there is no such instance", "unknown")
        mine = flag(request.query_params, "mine")
        tasks = held_tasks(self.actor, movable=mine)
        instances = visible_instances(self.actor, movable=mine)
        if under is not None:
            tasks, instances = tasks.in_subtree(under), instances.under(under)
        limit = integer(request.query_params, "limit", least=1, most=_MOST, default=_MOST)
        waiting = Attention(tasks, instances)
        return Response({"counts": waiting.counts(), "groups": waiting.groups(limit)})


class EventViewSet(Answering):
    """All events."""

    queryset = Event.objects.none()
    serializer_class = EventSerializer
    pagination_class = FeedPage
    filterset_class = EventFilter

    def list(self, request: Request) -> Response:
        """List all events that the caller may see, in order; poll with `after`."""
        return self.paged_events(visible_events(self.actor, named=True))
