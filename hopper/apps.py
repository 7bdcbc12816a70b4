"""The floor as a Django app: it brings the system checks."""

from __future__ import annotations

from django.apps import AppConfig


class HopperConfig(AppConfig):
    """Registers the system checks."""

    name = "hopper"
    verbose_name = "Hopper"

    def ready(self) -> None:
        from hopper import checks  # noqa: F401
