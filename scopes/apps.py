"""The app of decisions; a broken configuration file is an error of its system check."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from django.apps import AppConfig
from django.core.checks import CheckMessage, Error, Tags, register

from hopper.configuration import CONFIGURATION, operator_folder
from hopper.yamlconf import BrokenConfig


class ScopesConfig(AppConfig):
    """Scopes: what each scope decides, and the record of it."""

    default_auto_field = "django.db.models.BigAutoField"
    name = "scopes"
    verbose_name = "Decisions"

    def ready(self) -> None:
        register(check_configuration, Tags.files)


def check_configuration(**kwargs: Any) -> list[CheckMessage]:
    """Every configuration file is readable, known in all its keys, and meets its expectations."""
    # All files are parts of the configuration once these are loaded.
    import_module("scopes.config")
    try:
        CONFIGURATION.load(operator_folder())
    except BrokenConfig as error:
        return [Error(str(one), obj=one.file, id="hopper.E010") for one in error.problems]
    return []
