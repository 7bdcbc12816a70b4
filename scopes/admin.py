"""The page of routing decisions: what was decided and why, only to be read."""

from __future__ import annotations

from django.contrib import admin

from instances.admin.guarded import ReadOnlyAdmin
from scopes.models import RoutingDecision


@admin.register(RoutingDecision)
class DecisionAdmin(ReadOnlyAdmin):
    """Decisions, newest first."""

    list_display = (
        "created_at", "task_id", "instance_id", "verdict", "target_id", "code", "confidence",
    )  # fmt: skip
    list_filter = ("verdict", "code")
    search_fields = ("=task__id", "=instance__id", "=target__id")
    search_help_text = "The whole id of a task or an instance."
    ordering = ("-id",)
    sortable_by = ()
    list_per_page = 100
    show_full_result_count = False
