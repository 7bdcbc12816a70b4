"""The app that moves tasks; it connects the receivers of `instances.signals`."""

from __future__ import annotations

from django.apps import AppConfig


class DelegationConfig(AppConfig):
    """Delegation: doing what scopes decide."""

    default_auto_field = "django.db.models.BigAutoField"
    name = "delegation"

    def ready(self) -> None:
        """Connect the receivers, and let commands without a server sweep first."""
        from delegation import receivers  # noqa: F401
        from delegation.sweep import sweep
        from hopper import embedded

        embedded.duties.append(sweep)
