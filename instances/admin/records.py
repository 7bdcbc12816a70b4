"""Read-only pages: events, attempts, lessons, tokens; and the editable page of grants."""

from __future__ import annotations

from django.contrib import admin

from instances.admin.base import GuardedAdmin, LongListAdmin, ReadOnlyAdmin, column, moment, pill
from instances.models import AgentToken, Attempt, Event, Grant, Lesson


@admin.register(Event)
class EventAdmin(LongListAdmin):
    """Events."""

    ordering = ("-id",)
    list_display = (
        "id", column("at", "at (UTC)", moment), "kind", column("task_id", "task"),
        column("instance_id", "told to"), "before", column("status", "after", pill),
        column("holder_id", "holder after"), "actor",
    )  # fmt: skip
    list_filter = ("at", "ending")
    search_fields = ("=task__id", "=instance__id", "=kind", "=actor", "=actor_id")
    search_help_text = (
        "The whole id of a task or an instance, a kind of event, or an actor by name or id."
    )


@admin.register(Attempt)
class AttemptAdmin(LongListAdmin):
    """Attempts and their outcomes. The page never shows a lease token."""

    ordering = ("-id",)
    fields = (
        "task", "number", "epoch", "instance", "worker", "started_at", "ended_at", "outcome",
        "error", "progress", "checkpoint", "artifact", "more_artifacts",
    )  # fmt: skip
    list_display = (
        column("task_id", "task"), "number", "worker", column("instance_id", "at"),
        column("started_at", "began (UTC)", moment), column("ended_at", "ended (UTC)", moment),
        column("outcome", "outcome", pill),
    )  # fmt: skip
    list_filter = ("outcome", "started_at")
    search_fields = ("=task__id", "=instance__id", "=worker")
    search_help_text = "The whole id of a task or an instance, or a worker's name."


@admin.register(Lesson)
class LessonAdmin(LongListAdmin):
    """Lessons of tasks."""

    ordering = ("-id",)
    list_display = (
        column("created_at", "filed (UTC)", moment), "title", "domain", "confidence", "project",
        column("task_id", "task"), column("created_by", "by"),
    )  # fmt: skip
    list_filter = ("confidence",)
    search_fields = ("title", "=domain_key", "=project_key", "=task__id")
    search_help_text = "Words of a title, or a whole domain, project or id of a task."


@admin.register(AgentToken)
class TokenAdmin(ReadOnlyAdmin):
    """Tokens by name and digest. `hopper_token` creates and revokes them."""

    fields = ("name", "user", "role", "instance", "created", "expiry", "digest")
    list_display = ("name", "user", "role", "place", "created", "expiry", "short_digest")
    list_filter = ("role",)
    list_select_related = ("user",)
    search_fields = ("name", "=user__username", "=instance__id")
    ordering = ("name", "created")

    @admin.display(description="on")
    def place(self, token: AgentToken) -> str:
        """The instance of the token or grant, or "everywhere"."""
        return token.instance_id or "everywhere"

    @admin.display(description="digest")
    def short_digest(self, token: AgentToken) -> str:
        """The beginning of the digest, enough to tell tokens apart."""
        return str(token.digest)[:12]


@admin.register(Grant)
class GrantAdmin(GuardedAdmin):
    """Grants: roles of people on instances. A grant may be deleted: it is no record of work."""

    may_add = True
    may_delete = True
    list_display = ("user", "role", "place")
    list_filter = ("role",)
    list_select_related = ("user",)
    search_fields = ("=user__username", "=instance__id")
    autocomplete_fields = ("user", "instance")

    @admin.display(description="on")
    def place(self, grant: Grant) -> str:
        """The instance of the token or grant, or "everywhere"."""
        return grant.instance_id or "everywhere"
