"""The Django app of delegation. Connects the receivers of `instances.signals`."""

from __future__ import annotations

from django.apps import AppConfig


class DelegationConfig(AppConfig):
    """Delegation: carrying out the decisions of scopes."""

    default_auto_field = "django.db.models.BigAutoField"
    name = "delegation"

    def ready(self) -> None:
        """Connect the receivers, and add the first sweep of commands without a server."""
        from delegation import receivers  # noqa: F401
        from hopper import embedded

        embedded.duties.append(_sweep)


def _sweep(*, limit: int) -> object:
    """Do what is due, up to `limit` rows of each duty. The sweep is loaded when it runs."""
    from delegation.sweep import sweep

    return sweep(limit=limit)
