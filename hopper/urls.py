"""All addresses: pages, admin, schema, REST interface and health."""

from __future__ import annotations

from django.contrib import admin
from django.urls import include, path
from django.views.generic import RedirectView

from hopper.rest import health
from hopper.rest.root_view import RootView
from hopper.rest.schema_view import DocsView, SchemaView
from hopper.rest.urls import handler400, handler403, handler404, handler500

__all__ = ["handler400", "handler403", "handler404", "handler500", "urlpatterns"]

urlpatterns = [
    path("admin", RedirectView.as_view(pattern_name="admin:index")),
    path("admin/", admin.site.urls),
    path("api", RedirectView.as_view(pattern_name="api")),
    path("api/v1", RootView.as_view(), name="api"),
    path("api/v1/schema", SchemaView.as_view(), name="schema"),
    path("api/v1/docs", DocsView.as_view(), name="docs"),
    path("", include("hopper.rest.urls")),
    path("", include("instances.mcp.urls")),
    path("healthz", health.healthz, name="healthz"),
    path("health", health.healthz, name="health"),
    path("readyz", health.readyz, name="readyz"),
    path("", include("delegation.pages.urls")),
]
