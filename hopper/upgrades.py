"""Servers of two releases on one database: an older one works on until a migration says stop.

The name of a migration that older servers must not work beside ends in `_stop`. The database lists
the migrations that were applied. So a server sees by the names that it is too old.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

from django.apps import apps
from django.db import DatabaseError

STOP = "_stop"


class OlderServer(Exception):
    """This server is older than its database and must not work on it."""


def require_new_enough(connection: Any, **_: Any) -> None:
    """Close a new connection to a database that this server must not work on.

    The receiver of `connection_created`. Raises OlderServer.
    """
    try:
        with connection.cursor() as cursor:
            cursor.execute(
                "SELECT app, name FROM django_migrations WHERE name LIKE %s", [f"%{STOP}"]
            )
            applied = {(app, name) for app, name in cursor.fetchall() if name.endswith(STOP)}
    except DatabaseError:
        return  # The database is new: nothing was applied.
    if unknown := applied - _known():
        connection.close()
        names = ", ".join(f"{app}.{name}" for app, name in sorted(unknown))
        raise OlderServer(f"This server is older than its database ({names}): upgrade it.")


@cache
def _known() -> set[tuple[str, str]]:
    """Return the migrations of this release that say stop."""
    return {
        (config.label, file.stem)
        for config in apps.get_app_configs()
        for file in (Path(config.path) / "migrations").glob(f"*{STOP}.py")
    }
