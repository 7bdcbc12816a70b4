"""Servers of two releases on one database: an older one works on until a migration says stop.

The name of a migration that older servers must not work beside ends in `_stop`. The database lists
the migrations that were applied. So a server sees by the names that it is too old.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

from django.apps import apps
from django.db import DatabaseError, connection

from hopper import database

STOP = "_stop"

_MIGRATION_KEY = 0x4D696772
"""The advisory lock of the one process that migrates."""


class OlderServer(Exception):
    """This server is older than its database and must not work on it."""


def migrate() -> list[str]:
    """Bring the database to the newest schema; return the names of the migrations applied.

    Of all servers of a database one at a time does so. Also without a due migration it stores the
    settings of a session for this role.
    """
    # Late, here and below: most commands do without.
    from django.core.management import call_command

    with database.alone(_MIGRATION_KEY):
        due = due_migrations()
        call_command("migrate", verbosity=0, interactive=False)
    return due


def due_migrations() -> list[str]:
    """Return the names of the migrations that the database lacks, in their order."""
    from django.db.migrations.executor import MigrationExecutor

    executor = MigrationExecutor(connection)
    plan = executor.migration_plan(executor.loader.graph.leaf_nodes())
    return [f"{migration.app_label}.{migration.name}" for migration, _ in plan]


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
