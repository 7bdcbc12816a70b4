"""The app of decisions; a broken configuration file is an error of its system check."""

from __future__ import annotations

from typing import Any

from django.apps import AppConfig
from django.core.checks import CheckMessage, Error, Tags, register

from hopper.config.document import BrokenConfig
from hopper.config.files import CONFIGURATION, operator_folder


class ScopesConfig(AppConfig):
    """Scopes: what each scope decides, and the record of it."""

    default_auto_field = "django.db.models.BigAutoField"
    name = "scopes"
    verbose_name = "Decisions"

    def ready(self) -> None:
        # Loading these makes every file a part of the configuration.
        from scopes.rules import engine  # noqa: F401

        register(check_configuration, Tags.files)


def check_configuration(**kwargs: Any) -> list[CheckMessage]:
    """Every configuration file is readable, known in all its keys, and meets its expectations."""
    try:
        CONFIGURATION.load(operator_folder())
    except BrokenConfig as error:
        return [Error(str(one), obj=one.file, id="hopper.E010") for one in error.problems]
    return []
