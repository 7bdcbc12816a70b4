"""`GET /api/v1`: where each list begins, and for a browser the page of the operations."""

from __future__ import annotations

from typing import Any

from django.http import HttpResponseRedirect
from django.urls import reverse
from drf_spectacular.utils import OpenApiResponse
from rest_framework.permissions import AllowAny
from rest_framework.renderers import JSONRenderer, TemplateHTMLRenderer
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from hopper.rest.described import extend_schema
from hopper.rest.input import require_known
from hopper.rest.problem import Negotiation

INDEX = (
    "attention",
    "delegation-list",
    "docs",
    "events",
    "instance-list",
    "lesson-list",
    "me",
    "rules",
    "schema",
    "status",
    "task-list",
    "webhook-list",
)
"""The names of the addresses at which a client can begin."""


@extend_schema(
    auth=[],
    tags=["index"],
    responses={
        (200, "application/json"): {
            "type": "object",
            "additionalProperties": {"type": "string", "format": "uri"},
        },
        302: OpenApiResponse(description="A browser is led to the page of the operations."),
    },
)
class RootView(APIView):
    """List the addresses at which a client can begin. A browser is led to the docs."""

    http_method_names = ["get", "head"]
    authentication_classes = []
    permission_classes = [AllowAny]
    renderer_classes = [JSONRenderer, TemplateHTMLRenderer]
    content_negotiation_class = Negotiation

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        """Refuse parameters. Raises Invalid."""
        super().initial(request, *args, **kwargs)
        require_known(request.query_params, ())

    def get(self, request: Request) -> Response | HttpResponseRedirect:
        """List the addresses at which a client can begin. A browser is led to the docs."""
        if isinstance(request.accepted_renderer, TemplateHTMLRenderer):
            return HttpResponseRedirect(reverse("docs"))
        return Response(
            {
                name.removesuffix("-list") + "s" * name.endswith("-list"): (
                    request.build_absolute_uri(reverse(name))
                )
                for name in INDEX
            }
        )
