"""/status and /events: over all instances that the caller may see."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rest_framework.response import Response

from hopper.actors import EVERYWHERE
from hopper.errors import Invalid
from hopper.rest.described import OpenApiParameter, extend_schema
from hopper.rest.pagination import FeedPage
from instances.api.base import Answering
from instances.api.filters import EventFilter
from instances.api.instance_serializers import DashboardSerializer
from instances.api.permissions import visible_events, visible_instances
from instances.api.shown import shown_events
from instances.api.task_serializers import EventSerializer
from instances.dashboard import dashboard
from instances.history import feed
from instances.models import Event, HopperInstance

if TYPE_CHECKING:
    from rest_framework.request import Request


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
        return Response(dashboard(under, None if everywhere else seen))


class EventViewSet(Answering):
    """All events."""

    queryset = Event.objects.none()
    serializer_class = EventSerializer
    pagination_class = FeedPage
    filterset_class = EventFilter

    def list(self, request: Request) -> Response:
        """List all events that the caller may see, in order; poll with `after`."""
        return self.paged(feed(visible_events(self.actor)), shown_events)
