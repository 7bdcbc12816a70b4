"""The addresses of the REST interface. Each app adds its own."""

from __future__ import annotations

from django.urls import include, path

urlpatterns = [
    path("api/v1/", include("instances.api.urls")),
    path("api/v1/", include("scopes.api.urls")),
    path("api/v1/", include("delegation.api.urls")),
]
