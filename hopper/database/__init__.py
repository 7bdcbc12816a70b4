"""The database: locks (R6), one-moment reads, writes together, and what differs by engine."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import Any, TypeVar

from django.db import Error, connection, models, transaction
from django.db.models.expressions import Expression, RawSQL

from hopper.conditions import require_condition
from hopper.database.engine import Engine, Write
from hopper.database.postgresql import PostgreSQL
from hopper.database.rows import columns, select
from hopper.database.sqlite import SQLite

AFTER_COMMIT = 100
"""The most calls of one request after its commit; the sweep does the rest."""

AFTER_COMMIT_SECONDS = 5
"""The longest time after a commit in which calls still follow; the sweep does the rest."""

MOST_COUNTED = 10_000
"""The most rows that a list counts one by one where the database can estimate their number."""

Row = TypeVar("Row", bound=models.Model)
_ENGINES: dict[str, Engine] = {"postgresql": PostgreSQL(), "sqlite": SQLite()}


def engine() -> Engine:
    """Return the engine of this process's database: the only place that asks for the vendor."""
    return _ENGINES[connection.vendor]


def now() -> datetime:
    """Return the present by the clock that decides for all servers: the database's.

    A change reads it once, after its last lock: the time of a statement or a transaction lies
    before the wait for a lock.
    """
    with connection.cursor() as cursor:
        return engine().now(cursor)


def skip_health_check() -> None:
    """Skip Django's health check of a kept connection, unless its socket has something to read.

    For the start of a request, after Django has made the question due.
    """
    if connection.connection is not None and engine().is_quiet():
        # The attribute is Django's, and its stubs do not know it.
        connection.health_check_done = True  # type: ignore[attr-defined]


def present() -> Expression:
    """Return the present as an expression, for a query that reads it together with its rows."""
    if not engine().clock:
        return models.Value(now(), models.DateTimeField())
    return RawSQL(engine().clock, (), models.DateTimeField())  # noqa: S611


def read_with_now(statement: str, params: Any = ()) -> tuple[list[tuple[Any, ...]], datetime]:
    """Return the rows of a SELECT that finds at least one, and the present as `now` tells it."""
    with connection.cursor() as cursor:
        return engine().read_with_now(cursor, statement, params)


def number_of(rows: models.QuerySet[Any], *, exact_to: int = MOST_COUNTED) -> tuple[int, bool]:
    """Return how many rows there are, and whether the number is an estimate.

    A number up to `exact_to` is exact. So is a greater one where the database cannot estimate.
    """
    rows = rows.order_by()
    number = rows[: exact_to + 1].count()
    if number <= exact_to:
        return number, False
    about = engine().estimated_number(rows)
    return (rows.count(), False) if about is None else (max(about, number), True)


def lock_names(*names: str, shared: bool = False) -> None:
    """Take the locks of these names, in this order, until the transaction ends (R6, kind 1).

    Sharers do not hold one another up. Read only afterwards.
    """
    _require_transaction()
    with connection.cursor() as cursor:
        engine().lock_names(cursor, names, shared=shared)


def lock_within(name: str, *, seconds: float) -> bool:
    """Take the lock of a name alone, if it is free within so many seconds; return whether it is."""
    _require_transaction()
    with connection.cursor() as cursor:
        return engine().lock_within(cursor, name, seconds)


def lock_shared(model: type[Row], pk: str) -> Row | None:
    """Lock a row against change, not against other sharers, and return it fresh (R6, kind 2)."""
    _require_transaction()
    table, key = model._meta.db_table, model._meta.pk.column
    statement = f"SELECT {columns(model)} FROM {table} WHERE {key} = %s {engine().sharing}"  # noqa: S608
    return next(iter(select(model, statement, [pk])), None)


def lock_rows(model: type[Row], pks: list[str]) -> dict[str, Row]:
    """Lock rows for change, in id order, and return those that exist, fresh, by id (R6).

    The order is that of `sorted`, whatever the collation of the database.
    """
    _require_transaction()
    wanted, table, key = sorted(set(pks)), model._meta.db_table, model._meta.pk.column
    if not wanted:
        return {}
    marks, lock = ", ".join(["%s"] * len(wanted)), engine().locking(table, skip=False)
    order = f"ORDER BY {key} {engine().by_bytes} {lock}"
    found = f"SELECT {columns(model)} FROM {table} WHERE {key} IN ({marks}) {order}"  # noqa: S608
    locked = {str(row.pk): row for row in select(model, found, wanted)}
    for pk in locked:
        require_condition(model, pk)
    return locked


def lock_row(model: type[Row], pk: str) -> Row | None:
    """Lock one row for change and return it fresh, or None where there is none."""
    return lock_rows(model, [pk]).get(pk)


def try_lock(key: int) -> bool:
    """Take an advisory lock until the transaction ends; return False where another holds it."""
    _require_transaction()
    with connection.cursor() as cursor:
        return engine().try_lock(cursor, key)


@contextmanager
def alone(key: int) -> Iterator[None]:
    """Hold an advisory lock until the block ends, whatever is committed in it; others wait."""
    with engine().alone(key):
        yield


def limit_waiting(seconds: int) -> None:
    """Limit how long a statement of this transaction waits for a lock; a longer wait is an outage.

    On SQLite the transaction has waited already, as long as any other.
    """
    _require_transaction()
    with connection.cursor() as cursor:
        engine().limit_waiting(cursor, seconds)


def store_settings(**_: Any) -> None:
    """Keep Hopper's settings of a session in the database: the receiver of `post_migrate`."""
    with connection.cursor() as cursor:
        engine().store_settings(cursor)


def lift_time_limit(*, plan: Sequence[Any] | None = None, **_: Any) -> None:
    """Remove the time limit of statements before a migration: the receiver of `pre_migrate`.

    Keeps it where the plan is empty: a pooler would give the session to others without the limit.
    """
    if plan is not None and not plan:
        return
    with connection.cursor() as cursor:
        engine().lift_time_limit(cursor)


def lacking_settings() -> list[str]:
    """Return the settings of this session that `hopper migrate` has not stored for its role."""
    with connection.cursor() as cursor:
        return engine().lacking_settings(cursor)


def _require_transaction() -> None:
    if not connection.in_atomic_block:
        raise RuntimeError("a lock outlives its statement only inside a transaction")


@contextmanager
def snapshot() -> Iterator[None]:
    """Read one moment of the database; nothing waits, nothing is written.

    Inside a transaction the moments are that transaction's.
    """
    if connection.in_atomic_block:
        yield
    else:
        with engine().snapshot():
            yield


def write_together(*writes: Write) -> None:
    """Execute writes that do not read one another: in one statement where the database can."""
    if writes:
        with connection.cursor() as cursor:
            engine().write_together(cursor, writes)


def after_commit(call: Callable[[], object]) -> None:
    """Call something after the commit, where fewer than 100 calls wait and 5 s have not passed.

    For what the sweep does too: a request with many rows answers in time, and leaves the rest to
    the sweep. A failure of the call is logged and stops no other.
    """
    latest = time.monotonic() + AFTER_COMMIT_SECONDS

    def call_in_time() -> None:
        if time.monotonic() < latest:
            call()

    if len(connection.run_on_commit) < AFTER_COMMIT:
        transaction.on_commit(call_in_time, robust=True)


def is_outage(error: BaseException | None) -> bool:
    """Return whether the database was out of reach or busy, rather than asked something wrong."""
    return isinstance(error, Error) and engine().is_outage(error)


def outage_words(error: BaseException | None) -> str:
    """Return what is wrong with the database, for a caller who met an outage."""
    return lasting_cause(error) or "The database cannot be reached now, or is busy; try again."


def lasting_cause(error: BaseException | None) -> str:
    """Return why the database takes no change at all, such as a full disk; "" for other errors."""
    return engine().cause_of(error) if isinstance(error, Error) else ""
