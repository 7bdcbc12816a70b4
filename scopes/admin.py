"""The page of routing decisions: what was decided and why, only to be read."""

from __future__ import annotations

from django.contrib import admin

from instances.admin.guarded import ReadOnlyAdmin, column, moment
from scopes.models import RoutingDecision


@admin.register(RoutingDecision)
class DecisionAdmin(ReadOnlyAdmin):
    """Decisions, newest first."""

    list_display = (
        column("created_at", "at (UTC)", moment), column("task_id", "task"),
        column("instance_id", "decided at"), "verdict", column("target_id", "target"), "code",
        "confidence",
    )  # fmt: skip
    list_filter = ("verdict",)
    search_fields = ("=task__id", "=instance__id", "=target__id")
    search_help_text = "The whole id of a task or an instance."
    ordering = ("-id",)
    sortable_by = ()
    list_per_page = 100
    show_full_result_count = False
