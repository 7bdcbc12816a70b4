"""The app of decisions; a broken configuration file is an error of its system check."""

from __future__ import annotations

from typing import Any

from django.apps import AppConfig
from django.core.checks import CheckMessage, Error, Tags, register

from hopper.yamlconf import BrokenConfig, operator_folder


class ScopesConfig(AppConfig):
    """Scopes: what each scope decides, and the record of it."""

    default_auto_field = "django.db.models.BigAutoField"
    name = "scopes"
    verbose_name = "Decisions"

    def ready(self) -> None:
        register(check_configuration, Tags.files)


def check_configuration(**kwargs: Any) -> list[CheckMessage]:
    """Every configuration file is readable, known in all its keys, and meets its expectations."""
    from instances.config import BEHAVIORS, POLICIES
    from scopes.config import RULES

    found: list[CheckMessage] = []
    for file in (BEHAVIORS, POLICIES, RULES):
        try:
            file.load(operator_folder())
        except BrokenConfig as error:
            found += [Error(str(one), obj=file.name, id="hopper.E010") for one in error.problems]
    return found
