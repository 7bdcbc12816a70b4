"""PostgreSQL: row locks, advisory locks, and statements that write in their WITH."""

# ruff: noqa: S608 - the statements are made of names from this code; values are parameters

from __future__ import annotations

import json
import select
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import datetime
from pathlib import Path
from typing import Any

from django.db import Error, InterfaceError, OperationalError, connection, transaction
from django.db.backends.utils import CursorWrapper
from django.db.models import QuerySet

from hopper.database.engine import Engine, Write

# Connection lost, out of resources, server going down or coming up, idle in a transaction for too
# long, victim of a deadlock, lock or statement timed out, read-only.
_OUTAGES = ("08", "53", "57P", "25P03", "40001", "40P01", "55P03", "57014", "25006")

_CAUSES = {
    "25006": "The database is read-only, such as a standby.",
    "53100": "The disk of the database is full.",
}

_LOCK_TIMED_OUT = "55P03"

_ASK_SECONDS = 0.2
"""The time between two questions for a lock that is held for long."""

_SETTINGS = {
    # A lock that somebody else holds, and a long statement, end before the web server's limit of
    # 30 s, so that the client gets its answer (503).
    "lock_timeout": "10s",
    "statement_timeout": "20s",
    # A process that dies inside a transaction must not hold its locks for ever.
    "idle_in_transaction_session_timeout": "1min",
    # A statement after a lock has to read what the lock waited for.
    "default_transaction_isolation": "read committed",
    # Compiling the statement that counts reasons took longer than running it (50,000 tasks).
    "jit": "off",
}

_EARLY = "BEGIN; SET LOCAL synchronous_commit = off"
_WROTE = "pg_current_xact_id_if_assigned() IS NOT NULL"
_COMMIT_AND_WAIT = f"""SELECT set_config('hopper.wrote', ({_WROTE})::text, false);
    COMMIT;
    SELECT pg_logical_emit_message(true, 'hopper', '')
        WHERE current_setting('hopper.wrote')::boolean"""
"""Commits, then writes an entry of the log if there was a change. The commit of the entry waits for
the disk and the synchronous standby. Earlier commits stand before it in the log."""

_BUSY = {
    # A changed row goes to the page of the old one while there is room.
    "fillfactor": 85,
    # Dead entries at the head of a queue's index made a claim cost twice as much (50,000 claims).
    "autovacuum_vacuum_scale_factor": 0.01,
    "autovacuum_vacuum_threshold": 500,
    "autovacuum_analyze_scale_factor": 0.02,
    "autovacuum_analyze_threshold": 500,
}


def name_lock(name: str, *, shared: bool) -> str:
    """Return the call that takes the advisory lock of a name; `name` is an SQL expression."""
    mode = "_shared" if shared else ""
    return f"pg_advisory_xact_lock{mode}(hashtextextended('hopper ' || {name}, 0))"


class PostgreSQL(Engine):
    """Many writers at a time: what must not change is locked."""

    greatest = "greatest"
    least = "least"
    once = "MATERIALIZED"
    writes_in_with = True
    keeps_functions = True
    clock = "clock_timestamp()"
    # Django has no word for it. The FOR KEY SHARE of a foreign key check does not hold up an end.
    sharing = "FOR SHARE"
    by_bytes = 'COLLATE "C"'
    one_writer = False
    ids_follow_commits = False
    on_this_machine = False

    def now(self, cursor: CursorWrapper) -> datetime:
        """Ask the server: the clocks of its clients may differ."""
        cursor.execute(f"SELECT {self.clock}")
        found: datetime = cursor.fetchone()[0]
        return found

    def is_quiet(self) -> bool:
        """Look whether the socket has something to read: an error, or the end of the connection."""
        if connection.connection.closed:
            return False
        poller = select.poll()
        poller.register(connection.connection.fileno(), select.POLLIN)
        return not poller.poll(0)

    def read_with_now(
        self, cursor: CursorWrapper, statement: str, params: Any
    ) -> tuple[list[tuple[Any, ...]], datetime]:
        """Read the clock in the same statement."""
        cursor.execute(f"SELECT {self.clock}, found.* FROM ({statement}) found", params)
        rows = cursor.fetchall()
        return [row[1:] for row in rows], rows[-1][0]

    def estimated_number(self, rows: QuerySet[Any]) -> int | None:
        """Ask the planner, which knows the share of each common value since the last ANALYZE."""
        (plan,) = json.loads(rows.values("pk").explain(format="json"))
        return int(plan["Plan"]["Plan Rows"])

    def moment(self, value: Any) -> datetime | None:
        """Return the value, which the driver makes; in JSON it is a text with its zone."""
        found: datetime | None = datetime.fromisoformat(value) if isinstance(value, str) else value
        return found

    def lock_names(self, cursor: CursorWrapper, names: Sequence[str], *, shared: bool) -> None:
        """Take advisory locks, whose keys are made from the names."""
        lock = name_lock("name", shared=shared)
        cursor.execute(f"SELECT {lock} FROM unnest(%s::text[]) AS name", [list(names)])

    def lock_within(self, cursor: CursorWrapper, name: str, seconds: float) -> bool:
        """Wait with a lock timeout of its own, which ends with the wait."""
        cursor.execute("SELECT current_setting('lock_timeout')")
        usual = cursor.fetchone()[0]
        set_timeout = "SELECT set_config('lock_timeout', %s, true)"
        try:
            with transaction.atomic():
                cursor.execute(set_timeout, [f"{seconds * 1000:.0f}ms"])
                self.lock_names(cursor, [name], shared=False)
                cursor.execute(set_timeout, [usual])
        except OperationalError as error:
            if getattr(error.__cause__, "sqlstate", None) != _LOCK_TIMED_OUT:
                raise
            return False
        return True

    def try_lock(self, cursor: CursorWrapper, key: int) -> bool:
        """Take an advisory lock, if nobody holds it."""
        cursor.execute("SELECT pg_try_advisory_xact_lock(%s)", [key])
        return bool(cursor.fetchone()[0])

    @contextmanager
    def alone(self, key: int) -> Iterator[None]:
        """Hold it in the open transaction of another connection: a pooler keeps no session.

        Ends with the process. The wait asks again and again, so that it holds no snapshot.
        """
        holder = connection.copy()
        try:
            holder.set_autocommit(False)
            with holder.cursor() as cursor:
                cursor.execute("SET LOCAL idle_in_transaction_session_timeout = 0")
                while not self.try_lock(cursor, key):
                    time.sleep(_ASK_SECONDS)
                yield
        finally:
            holder.close()

    def limit_waiting(self, cursor: CursorWrapper, seconds: int) -> None:
        """Set the lock timeout of the transaction."""
        cursor.execute("SELECT set_config('lock_timeout', %s, true)", [f"{seconds}s"])

    def store_settings(self, cursor: CursorWrapper) -> None:
        """Alter the role in this database: a pooler refuses options of the connection."""
        name = connection.ops.quote_name(connection.settings_dict["NAME"])
        if self._stored(cursor) != _SETTINGS:
            for key, value in _SETTINGS.items():
                cursor.execute(f"ALTER ROLE CURRENT_USER IN DATABASE {name} SET {key} = '{value}'")
        for pair in _SETTINGS.items():
            cursor.execute("SELECT set_config(%s, %s, false)", pair)

    def lacking_settings(self, cursor: CursorWrapper) -> list[str]:
        """Compare what the server shows for this session."""
        marks = ", ".join(f"current_setting('{key}')" for key in _SETTINGS)
        cursor.execute(f"SELECT {marks}")
        shown = dict(zip(_SETTINGS, cursor.fetchone() or (), strict=True))
        return [key for key, value in _SETTINGS.items() if shown[key] != value]

    def lift_time_limit(self, cursor: CursorWrapper) -> None:
        """Set the statement timeout of the session to none."""
        cursor.execute("SET statement_timeout = 0")

    def _stored(self, cursor: CursorWrapper) -> dict[str, str]:
        """Return which of the settings the database keeps for this role, with their values."""
        cursor.execute(
            "SELECT unnest(setconfig) FROM pg_db_role_setting"
            " JOIN pg_roles ON pg_roles.oid = setrole AND rolname = current_user"
            " JOIN pg_database ON pg_database.oid = setdatabase"
            " AND datname = current_database()"
        )
        kept = dict(row[0].split("=", 1) for row in cursor.fetchall())
        return {key: value for key, value in kept.items() if key in _SETTINGS}

    def store_busy(self, cursor: CursorWrapper, table: str, *, busy: bool) -> None:
        """Set the storage parameters of the table, or reset them."""
        values = [f"{name} = {value}" if busy else name for name, value in _BUSY.items()]
        cursor.execute(f"ALTER TABLE {table} {'SET' if busy else 'RESET'} ({', '.join(values)})")

    def drop_prefix_indexes(self, cursor: CursorWrapper, app: str) -> None:
        """Drop the `_like` twins: they serve LIKE 'prefix%' alone."""
        cursor.execute(
            "SELECT indexname FROM pg_indexes WHERE schemaname = current_schema()"
            " AND starts_with(tablename, %s) AND right(indexname, 5) = '_like'",
            [f"{app}_"],
        )
        for (name,) in cursor.fetchall():
            cursor.execute(f"DROP INDEX {connection.ops.quote_name(name)}")

    @contextmanager
    def snapshot(self) -> Iterator[None]:
        """Read in a repeatable-read transaction, however long it takes."""
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")
            cursor.execute("SET LOCAL statement_timeout = 0")
            yield

    def commit_early(
        self, cursor: CursorWrapper, statement: str, params: Any
    ) -> list[tuple[Any, ...]]:
        """Commit without a wait, then write one entry of the log, whose commit waits.

        All of it is one message, so that a pooler gives it to one session: a crash in between is
        an error.
        """
        early = not connection.in_atomic_block
        message = f"{_EARLY}; {statement}; {_COMMIT_AND_WAIT}" if early else statement
        try:
            cursor.execute(message, params)
        except BaseException:
            # Django does not know of the open transaction, and a signal may come in it.
            if early:
                with suppress(Error), connection.wrap_database_errors:
                    connection.connection.rollback()
            raise
        while cursor.description is None:
            cursor.nextset()
        found: list[tuple[Any, ...]] = cursor.fetchall()
        return found

    def write_together(self, cursor: CursorWrapper, writes: Sequence[Write]) -> None:
        """Execute one statement: the first writes stand in the WITH of the last."""
        *first, (last, _) = writes
        named = ", ".join(f"w{n} AS ({statement})" for n, (statement, _) in enumerate(first))
        params = [param for _, one in writes for param in one]
        cursor.execute(f"WITH {named} {last}" if first else last, params)

    def locking(self, table: str, *, skip: bool) -> str:
        """Lock without blocking foreign key checks."""
        return f"FOR NO KEY UPDATE OF {table}" + (" SKIP LOCKED" if skip else "")

    def any_word(self, column: str, mark: str, words: Sequence[str]) -> tuple[str, Any]:
        """Return the jsonb operator, which a GIN index can serve."""
        return f"{column} ?| {mark}", list(words)

    def all_words(self, column: str, mark: str, words: Sequence[str]) -> tuple[str, Any]:
        """Return the jsonb operator, which a GIN index can serve."""
        return f"{column} ?& {mark}", list(words)

    def only_words(self, column: str, mark: str, words: Sequence[str]) -> tuple[str, Any]:
        """Return the jsonb operator."""
        return f"{column} <@ {mark}::jsonb", json.dumps(list(words))

    def is_outage(self, error: Error) -> bool:
        """Tell by the error's code; a connection that failed or is gone has none."""
        cause = error.__cause__
        state = getattr(cause, "sqlstate", None)
        if state is not None:
            return str(state).startswith(_OUTAGES)
        driver = type(cause).__module__.split(".")[0]
        return isinstance(error, OperationalError | InterfaceError) and driver == "psycopg"

    def cause_of(self, error: Error) -> str:
        """Tell by the error's code."""
        return _CAUSES.get(getattr(error.__cause__, "sqlstate", None) or "", "")

    def back_up(self, path: Path) -> None:
        """Write the file by `pg_dump`."""
        # Late, here and below: it loads psycopg, which commands on SQLite do without.
        from hopper.database import pg_dump

        pg_dump.dump(path)

    def restore(self, path: Path) -> None:
        """Read the file by `pg_restore`."""
        from hopper.database import pg_dump

        pg_dump.load(path)
