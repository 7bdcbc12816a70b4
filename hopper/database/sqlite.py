"""SQLite: one writer at a time, so an immediate transaction stands for every lock."""

# ruff: noqa: S608 - the statements are made of names from this code; values are parameters

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, closing, contextmanager, nullcontext
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from django.db import Error, connection
from django.db.backends.utils import CursorWrapper
from django.db.models import QuerySet
from django.utils import timezone

from hopper.database.engine import BackupError, Engine, Write

# Busy, locked, read-only, input or output failed, full, cannot be opened.
_OUTAGES = frozenset({5, 6, 8, 10, 13, 14})
_CAUSES = {
    8: "The database is read-only: its file or folder is protected against writing.",
    10: "The disk of the database fails.",
    13: "The disk of the database is full.",
}


class SQLite(Engine):
    """One writer at a time: the immediate transaction has waited for all others already."""

    greatest = "max"
    least = "min"
    once = ""
    writes_in_with = False
    keeps_functions = False
    clock = ""
    sharing = ""
    by_bytes = ""
    one_writer = True
    ids_follow_commits = True
    on_this_machine = True

    def now(self, cursor: CursorWrapper) -> datetime:
        """Read this machine's clock: the database is a file on it."""
        return timezone.now()

    def is_quiet(self) -> bool:
        """There is no server."""
        return True

    def read_with_now(
        self, cursor: CursorWrapper, statement: str, params: Any
    ) -> tuple[list[tuple[Any, ...]], datetime]:
        """Read this machine's clock after the statement."""
        cursor.execute(statement, params)
        return cursor.fetchall(), timezone.now()

    def estimated_number(self, rows: QuerySet[Any]) -> int | None:
        """Return None: the planner tells no numbers."""
        return None

    def moment(self, value: Any) -> datetime | None:
        """Read the text, which is UTC. Only a plain column comes as a time, without its zone."""
        if value is None:
            return None
        found = datetime.fromisoformat(value) if isinstance(value, str) else value
        return found.replace(tzinfo=UTC)

    def lock_names(self, cursor: CursorWrapper, names: Sequence[str], *, shared: bool) -> None:
        """Do nothing: the transaction is the lock."""

    def lock_within(self, cursor: CursorWrapper, name: str, seconds: float) -> bool:
        """Do nothing: the transaction is the lock."""
        return True

    def try_lock(self, cursor: CursorWrapper, key: int) -> bool:
        """Do nothing: the transaction is the lock."""
        return True

    def alone(self, key: int) -> AbstractContextManager[None]:
        """Do nothing: the store has a lock of its own for the processes of this machine."""
        return nullcontext()

    def limit_waiting(self, cursor: CursorWrapper, seconds: int) -> None:
        """Do nothing: the transaction waited when it began, as long as any other."""

    def store_settings(self, cursor: CursorWrapper) -> None:
        """Do nothing: each connection sets itself up."""

    def lacking_settings(self, cursor: CursorWrapper) -> list[str]:
        """Return nothing: each connection sets itself up."""
        return []

    def lift_time_limit(self, cursor: CursorWrapper) -> None:
        """Do nothing: no statement is limited."""

    def store_busy(self, cursor: CursorWrapper, table: str, *, busy: bool) -> None:
        """Do nothing: rows are changed in their place."""

    def drop_prefix_indexes(self, cursor: CursorWrapper, app: str) -> None:
        """Do nothing: Django makes none here."""

    @contextmanager
    def snapshot(self) -> Iterator[None]:
        """Read in a deferred transaction; Django's own would keep every writer out."""
        with connection.cursor() as cursor:
            cursor.execute("BEGIN DEFERRED")
            try:
                yield
            finally:
                cursor.execute("ROLLBACK")

    def commit_early(
        self, cursor: CursorWrapper, statement: str, params: Any
    ) -> list[tuple[Any, ...]]:
        """Commit as always: there is one writer, so no other claim waits."""
        cursor.execute(statement, params)
        found: list[tuple[Any, ...]] = cursor.fetchall()
        return found

    def write_together(self, cursor: CursorWrapper, writes: Sequence[Write]) -> None:
        """Execute one statement a write."""
        for statement, params in writes:
            cursor.execute(statement, params)

    def locking(self, table: str, *, skip: bool) -> str:
        """Return nothing: the transaction is the lock."""
        return ""

    def any_word(self, column: str, mark: str, words: Sequence[str]) -> tuple[str, Any]:
        """Return a test of the list's words against the given ones."""
        sql = f"""EXISTS (SELECT 1 FROM json_each({column}) AS had
            WHERE had.value IN (SELECT value FROM json_each({mark})))"""
        return sql, json.dumps(list(words))

    def all_words(self, column: str, mark: str, words: Sequence[str]) -> tuple[str, Any]:
        """Return a test of the given words against the list's."""
        return self.only_words(mark, column, words)

    def only_words(self, column: str, mark: str, words: Sequence[str]) -> tuple[str, Any]:
        """Return a test of the list's words against the given ones."""
        sql = f"""NOT EXISTS (SELECT 1 FROM json_each({column}) AS had
            WHERE had.value NOT IN (SELECT value FROM json_each({mark})))"""
        return sql, json.dumps(list(words))

    def is_outage(self, error: Error) -> bool:
        """Tell by the primary result code."""
        return _code_of(error) in _OUTAGES

    def cause_of(self, error: Error) -> str:
        """Tell by the primary result code."""
        return _CAUSES.get(_code_of(error), "")

    def back_up(self, path: Path) -> None:
        """Copy all pages in one step: readers of a WAL database hold no writer up."""
        connection.ensure_connection()
        with closing(sqlite3.connect(path)) as copy:
            connection.connection.backup(copy)
            self._require_whole(copy, path)

    def restore(self, path: Path) -> None:
        """Copy all pages back, in one transaction of this database."""
        connection.ensure_connection()
        with closing(sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True)) as copy:
            self._require_whole(copy, path)
            copy.backup(connection.connection)

    def _require_whole(self, copy: sqlite3.Connection, path: Path) -> None:
        try:
            faults = [line for (line,) in copy.execute("PRAGMA quick_check") if line != "ok"]
            copy.execute("SELECT 1 FROM django_migrations LIMIT 1")
        except sqlite3.DatabaseError as error:
            raise BackupError(f"{path} is no SQLite database of Hopper: {error}.") from error
        if faults:
            raise BackupError(f"{path} is damaged: {faults[0]}.")


def _code_of(error: Error) -> int:
    """Return the primary result code of an error of SQLite; -1 for another error."""
    code = getattr(error.__cause__, "sqlite_errorcode", None)
    return -1 if code is None else code & 0xFF
