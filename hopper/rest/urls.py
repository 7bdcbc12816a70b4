"""The addresses of the REST interface. Each app has its own, loaded at the first call of one."""

from __future__ import annotations

from typing import Any

from django.urls import Resolver404, URLResolver
from django.urls.resolvers import RoutePattern

BASE = "api/v1/"


class Late(URLResolver):
    """Addresses below BASE of one module, which is loaded when a path begins with its word.

    A command without a server makes one call. So it loads the views of that call alone.
    """

    def __init__(self, word: str, module: str) -> None:
        super().__init__(RoutePattern(BASE), module)
        self._start = BASE + word

    def resolve(self, path: Any) -> Any:
        """Return the view of a path. Raises Resolver404 for a path of other modules."""
        if not str(path).startswith(self._start):
            raise Resolver404({"tried": [], "path": path})
        return super().resolve(path)


urlpatterns = [
    Late("tasks", "instances.api.task_urls"),
    Late("instances", "instances.api.instance_urls"),
    Late("", "instances.api.urls"),
    Late("", "scopes.api.urls"),
    Late("", "delegation.api.urls"),
]

# Django reads these names from the root URL module. For a local command this module is the root.
handler400 = "hopper.rest.problem.bad_request"
handler403 = "hopper.rest.problem.denied"
handler404 = "hopper.rest.problem.not_found"
handler500 = "hopper.rest.problem.server_error"
