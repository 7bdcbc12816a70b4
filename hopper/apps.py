"""The floor as a Django app: the system checks, and the files of settings."""

from __future__ import annotations

from django.apps import AppConfig


class HopperConfig(AppConfig):
    """Hopper: what all rooms stand on."""

    name = "hopper"
    verbose_name = "Hopper"

    def ready(self) -> None:
        """Register the system checks and the files whose keys the rooms register."""
        from hopper import checks  # noqa: F401
        from hopper.config.files import CONFIGURATION
        from hopper.config.settings import BEHAVIORS, POLICIES

        CONFIGURATION.add(BEHAVIORS, POLICIES)
