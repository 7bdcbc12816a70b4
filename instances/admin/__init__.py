"""The admin site of the tree and its tasks: reads everything, writes only through services."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.contrib.admin import AdminSite
from django.http import HttpRequest
from django.template.response import TemplateResponse

from instances.admin.records import AttemptAdmin, EventAdmin, GrantAdmin, LessonAdmin, TokenAdmin
from instances.admin.tasks import TaskAdmin
from instances.admin.tree import InstanceAdmin
from instances.admin.webhooks import WebhookAdmin
from instances.dashboard import dashboard

__all__ = [
    "AttemptAdmin",
    "EventAdmin",
    "GrantAdmin",
    "InstanceAdmin",
    "LessonAdmin",
    "TaskAdmin",
    "TokenAdmin",
    "WebhookAdmin",
]

admin.site.site_header = admin.site.site_title = "Hopper"
admin.site.index_title = "Instances, tasks and delegations"
# The front page and the records lead to the pages of the site, by words of their own.
admin.site.site_url = None
# The lists are wide, and the front page names all of them.
admin.site.enable_nav_sidebar = False


def front_page(
    request: HttpRequest, extra_context: dict[str, Any] | None = None
) -> TemplateResponse:
    """Show the figures of the dashboard above the lists."""
    return AdminSite.index(admin.site, request, {"figures": dashboard(), **(extra_context or {})})


# A front page with figures needs no site of its own.
admin.site.index = front_page  # type: ignore[method-assign]
admin.site.index_template = "hopper_admin/index.html"
