"""System checks of the deployment: hopper.E00x stop the start, hopper.W00x are warnings."""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from typing import Any

from django.conf import settings
from django.core.checks import ERROR, CheckMessage, Error, Tags, Warning, register, run_checks
from django.core.management.base import SystemCheckError
from django.db import DatabaseError, connection

from hopper import embedded, variables
from hopper.config.document import BrokenConfig
from hopper.config.files import CONFIGURATION, operator_folder
from hopper.database import lacking_settings

logger = logging.getLogger(__name__)

LOOPBACK = frozenset({"localhost", ".localhost", "127.0.0.1", "[::1]", "::1", "testserver"})


@register(Tags.compatibility)
def check_time(**kwargs: Any) -> list[CheckMessage]:
    """Check that times are stored and shown in UTC."""
    if settings.USE_TZ and settings.TIME_ZONE == "UTC":
        return []
    return [
        Error(
            "Hopper keeps all times in UTC.",
            hint="Set USE_TZ = True and TIME_ZONE = 'UTC'.",
            id="hopper.E001",
        )
    ]


@register(Tags.security)
def check_open_access(**kwargs: Any) -> list[CheckMessage]:
    """Check HOPPER_AUTH. Under `off` every allowed host must be a loopback name."""
    if settings.HOPPER_AUTH not in ("on", "off"):
        return [
            Error(
                f"HOPPER_AUTH is {settings.HOPPER_AUTH!r}.",
                hint="Set it to 'on' (the default) or 'off'.",
                id="hopper.E002",
            )
        ]
    beyond = sorted(set(settings.ALLOWED_HOSTS) - LOOPBACK)
    if settings.HOPPER_AUTH == "on" or not beyond:
        return []
    return [
        Error(
            f"HOPPER_AUTH=off makes every caller an admin, and {', '.join(beyond)} can be "
            "reached from elsewhere.",
            hint="Leave HOPPER_AUTH on, or keep HOPPER_ALLOWED_HOSTS to localhost and 127.0.0.1.",
            id="hopper.E003",
        )
    ]


@register(Tags.files)
def check_configuration(**kwargs: Any) -> list[CheckMessage]:
    """Check every configuration file: readable, without unknown keys, its expectations met."""
    try:
        CONFIGURATION.load(operator_folder())
    except BrokenConfig as error:
        return [Error(str(one), obj=one.file, id="hopper.E010") for one in error.problems]
    return []


@register(Tags.database)
def check_database_settings(
    databases: Sequence[str] | None = None, **kwargs: Any
) -> list[CheckMessage]:
    """The database gives every session of Hopper the settings that `migrate` stores."""
    if not databases:
        return []
    try:
        lacking = lacking_settings()
    except DatabaseError:
        return []
    if not lacking:
        return []
    return [
        Warning(
            f"Sessions of this role lack Hopper's settings: {', '.join(lacking)}.",
            hint="Run `hopper migrate` once as the role that the servers use.",
            id="hopper.W002",
        )
    ]


def require_sound_start() -> None:
    """Stop the start of a server that anyone can reach or whose configuration is broken.

    Only `manage.py` runs the system checks by itself. Raises SystemCheckError.
    """
    found = run_checks(tags=[Tags.compatibility, Tags.security, Tags.files])
    if errors := [message for message in found if message.is_serious()]:
        raise SystemCheckError("\n".join(map(str, errors)))


def advise_at_start() -> None:
    """Log what the database lacks when a server starts.

    Raises SystemCheckError for a server that must not use the database: its key is another one.
    """
    found = run_checks(tags=[Tags.database], databases=["default"])
    connection.close()
    if errors := [message for message in found if message.is_serious(ERROR)]:
        raise SystemCheckError("\n".join(map(str, errors)))
    for message in found:
        logger.warning("%s", message, extra={"event": "start_advice"})


@register(Tags.compatibility)
def check_names(**kwargs: Any) -> list[CheckMessage]:
    """Warn of variables that begin like Hopper's settings and are none: nothing reads them."""
    return [
        Warning(
            f"{name} is no setting of Hopper.",
            hint=next(
                variables.mistyped([name]), "Remove it, or see docs/reference/configuration."
            ),
            id="hopper.W003",
        )
        for name in variables.unknown(os.environ)
    ]


@register(Tags.security, deploy=True)
def check_engine(**kwargs: Any) -> list[CheckMessage]:
    """Warn on a server with SQLite: SQLite has one writer at a time."""
    if settings.DATABASES["default"]["ENGINE"] != embedded.ENGINE:
        return []
    return [
        Warning(
            "The store is SQLite, which has one writer at a time and lives on one machine.",
            hint="For a server that many workers use, set HOPPER_DATABASE_URL to PostgreSQL.",
            id="hopper.W001",
        )
    ]
