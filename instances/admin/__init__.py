"""The admin site of the tree and its tasks: reads everything, writes only through services."""

from __future__ import annotations

from django.contrib import admin

from instances.admin.records import AttemptAdmin, EventAdmin, GrantAdmin, LessonAdmin, TokenAdmin
from instances.admin.tasks import TaskAdmin
from instances.admin.tree import InstanceAdmin
from instances.admin.webhooks import WebhookAdmin

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
# There is no other site than this one.
admin.site.site_url = None
# The lists are wide, and the front page names all of them.
admin.site.enable_nav_sidebar = False
