"""The lowest room as a Django app: system checks and configuration files."""

from __future__ import annotations

from django.apps import AppConfig
from django.db.backends.signals import connection_created


class HopperConfig(AppConfig):
    """The Django app of the package that all other apps import."""

    name = "hopper"
    verbose_name = "Hopper"

    def ready(self) -> None:
        """Register the system checks and the configuration files; the apps register their keys."""
        from hopper import checks  # noqa: F401
        from hopper.config.files import CONFIGURATION
        from hopper.upgrades import require_new_enough

        CONFIGURATION.register_late(_register)
        connection_created.connect(require_new_enough)


def _register() -> None:
    """Register the files with keys of several rooms."""
    from hopper.config.files import CONFIGURATION
    from hopper.config.registry import BEHAVIORS, POLICIES

    CONFIGURATION.add(BEHAVIORS, POLICIES)
