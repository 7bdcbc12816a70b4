"""The pages of who may do what: tokens to be read, grants to be given and taken."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.contrib import admin

from instances.admin.guarded import GuardedAdmin, ReadOnlyAdmin
from instances.models import AgentToken, Grant

if TYPE_CHECKING:
    from django.http import HttpRequest


@admin.register(AgentToken)
class TokenAdmin(ReadOnlyAdmin):
    """Tokens by name and digest; they are made and revoked by `hopper_token`."""

    fields = ("name", "user", "role", "instance", "created", "expiry", "digest")
    list_display = ("name", "user", "role", "place", "created", "expiry", "short_digest")
    list_filter = ("role",)
    list_select_related = ("user",)
    search_fields = ("name", "=user__username", "=instance__id")
    ordering = ("name", "created")

    @admin.display(description="on")
    def place(self, token: AgentToken) -> str:
        """The instance, or everywhere."""
        return token.instance_id or "everywhere"

    @admin.display(description="digest")
    def short_digest(self, token: AgentToken) -> str:
        """The beginning of the digest, enough to tell tokens apart."""
        return str(token.digest)[:12]


@admin.register(Grant)
class GrantAdmin(GuardedAdmin):
    """People's roles on instances. Taking a grant away is deleting it: it is no record of work."""

    list_display = ("user", "role", "place")
    list_filter = ("role",)
    list_select_related = ("user",)
    search_fields = ("=user__username", "=instance__id")
    autocomplete_fields = ("user", "instance")

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Whether the caller may give roles."""
        return self.has_change_permission(request)

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Whether the caller may take roles away."""
        return self.has_change_permission(request)

    @admin.display(description="on")
    def place(self, grant: Grant) -> str:
        """The instance, or everywhere."""
        return grant.instance_id or "everywhere"
