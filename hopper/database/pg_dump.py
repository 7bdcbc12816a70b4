"""PostgreSQL's own programs `pg_dump` and `pg_restore`, run on the database of this process."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

from django.db import connection
from psycopg.conninfo import make_conninfo

from hopper.database.engine import BackupError

_DUMP, _RESTORE = "pg_dump", "pg_restore"


def dump(path: Path) -> None:
    """Write all tables, as they are at one moment, to `path`. Raises BackupError."""
    _require_new_enough(_DUMP)
    _run(_DUMP, "--format=custom", "--no-owner", "--no-privileges", f"--file={path}", _target())


def load(path: Path) -> None:
    """Replace the tables by those of a dump, in one transaction. Raises BackupError.

    PostgreSQL drops no table to which a key points that the dump does not name.
    """
    try:
        listed = _run(_RESTORE, "--list", str(path))
    except BackupError as error:
        raise BackupError(f"{path} is no backup of PostgreSQL: {error}") from error
    if " django_migrations " not in listed:
        raise BackupError(f"{path} is a dump of another application: it has no table of Hopper.")
    try:
        _run(
            *(_RESTORE, "--clean", "--if-exists", "--single-transaction", "--exit-on-error"),
            *("--no-owner", "--no-privileges", _target(), str(path)),
        )
    except BackupError as error:
        if "depend" not in str(error):
            raise
        raise BackupError(
            f"{error}\nNothing was changed. Make an empty database (`createdb NAME`), restore into "
            f"it (`hopper restore --database postgres://USER@HOST/NAME {path}`), then let "
            "HOPPER_DATABASE_URL name it."
        ) from error


def _require_new_enough(program: str) -> None:
    """Raise BackupError for a program that is older than the server: it cannot read the tables."""
    own = re.search(r"\d+", _run(program, "--version"))
    version, server = int(own[0]) if own else 0, _info().server_version // 10_000
    if version < server:
        raise BackupError(
            f"{program} has version {version}, the server version {server}: install the PostgreSQL "
            f"client {server} or newer, and put its folder first in PATH."
        )


def _run(program: str, *arguments: str) -> str:
    """Return the output of a program. Raises BackupError with the words of the program."""
    found = shutil.which(program)
    if found is None:
        raise BackupError(f"{program} is not in PATH: install the client of PostgreSQL.")
    # The list of processes shows arguments to everybody, so the password is none.
    environment = {**os.environ, "PGPASSWORD": _info().password}
    done = subprocess.run(  # noqa: S603 - a program of PostgreSQL, no shell
        [found, *arguments], env=environment, capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise BackupError(f"{program} failed: {done.stderr.strip() or done.returncode}")
    return done.stdout


def _target() -> str:
    """Return the option that names this database, without the password."""
    given = connection.get_connection_params()
    words: dict[str, Any] = {
        name: value for name, value in given.items() if isinstance(value, str | int)
    }
    words.pop("password", None)
    return f"--dbname={make_conninfo(**words)}"


def _info() -> Any:
    connection.ensure_connection()
    return connection.connection.info
