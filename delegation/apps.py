"""The app that moves tasks; it connects the receivers of `instances.signals`."""

from __future__ import annotations

from django.apps import AppConfig


class DelegationConfig(AppConfig):
    """Delegation: doing what scopes decide."""

    default_auto_field = "django.db.models.BigAutoField"
    name = "delegation"

    def ready(self) -> None:
        """Listen to what `instances` says."""
        from delegation import receivers  # noqa: F401
