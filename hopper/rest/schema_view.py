"""`GET /api/v1/schema`: drawn once in each process, with an ETag."""

from __future__ import annotations

import hashlib
from functools import lru_cache
from typing import Any

from django.http import HttpResponse
from django.utils.cache import get_conditional_response
from drf_spectacular.generators import SchemaGenerator
from drf_spectacular.views import SpectacularAPIView, SpectacularSwaggerSplitView
from rest_framework.renderers import BaseRenderer
from rest_framework.request import Request

from hopper.rest.compression import compress
from hopper.rest.input import require_known


class SchemaView(SpectacularAPIView):
    """The OpenAPI schema as YAML or JSON, by `Accept`. It changes only with the release."""

    http_method_names = ["get", "head"]

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        """Refuse parameters. Raises Invalid."""
        super().initial(request, *args, **kwargs)
        require_known(request.query_params, ())

    def _get_schema_response(self, request: Request) -> HttpResponse:
        renderer = request.accepted_renderer
        renderer_class: Any = type(renderer)
        content, etag = _drawn(renderer_class)
        response = HttpResponse(content, content_type=renderer.media_type)
        response.headers["Cache-Control"] = "no-cache"
        response.headers["ETag"] = etag
        compress(request._request, response)
        return get_conditional_response(request._request, etag=etag, response=response) or response


@lru_cache
def _drawn(renderer: type[BaseRenderer]) -> tuple[bytes, str]:
    """Return the schema in one form, and its ETag."""
    generator: Any = SchemaGenerator()
    content: Any = renderer().render(generator.get_schema(request=None, public=True))
    return content, f'"{hashlib.sha256(content).hexdigest()[:32]}"'


class DocsView(SpectacularSwaggerSplitView):
    """The page on which a browser tries the operations of the schema."""

    http_method_names = ["get", "head"]
    template_name = "hopper/docs.html"
    url_name = "schema"

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        """Refuse parameters but `script`, by which the page loads its script. Raises Invalid."""
        super().initial(request, *args, **kwargs)
        given = request.query_params.copy()
        given.pop("script", None)
        require_known(given, ())
