"""The invariants at the end of a test: what `audit()` finds, at a tenth of its time.

Most time of an audit goes into making its hundred statements. They are the same each time as long
as none of them finds a row. So they are kept from an audit of the empty database, and one statement
asks whether one of them finds a row now. A question is asked anew only then.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any
from weakref import WeakSet

from django.db import connection, transaction

from delegation.audit import INVARIANTS, Finding, audit
from delegation.audit.extent import TWO_SWEEPS, Extent
from hopper import database

if TYPE_CHECKING:
    from collections.abc import Callable

    from django.db.backends.utils import CursorWrapper

    from delegation.audit import Invariant


@dataclass(frozen=True)
class Kept:
    """The statements of all questions in one, with its parameters; times are kept as ages."""

    statement: str
    parameters: tuple[Any, ...]
    always: tuple[str, ...]
    """The questions whose statements find a row in an empty database too."""


AGES = (timedelta(), TWO_SWEEPS)
FAR = datetime(4000, 1, 1, tzinfo=UTC)
"""Stands for the present in the text of a prepared statement."""

_KEPT: list[Kept] = []
_PREPARED: WeakSet[Any] = WeakSet()
"""The connections that know the prepared statement."""


def unsound() -> list[Finding]:
    """Return what `audit()` returns."""
    if not _KEPT:
        return audit()
    kept, now = _KEPT[0], database.now()
    with connection.cursor() as cursor:
        # A pooler gives each transaction another connection, which knows no statement.
        if connection.vendor == "postgresql" and "HOPPER_TEST_POOLED" not in os.environ:
            _execute_prepared(cursor, kept, now)
        else:
            cursor.execute(kept.statement, _dated(kept.parameters, now))
        asked = {number for (number,) in cursor.fetchall()} | set(kept.always)
    return audit(asked) if asked else []


def keep() -> None:
    """Keep the statements of the audit; the database must be empty."""
    _KEPT[:] = [kept(database.now())]


def kept(now: datetime) -> Kept:
    """Return the statements of an audit of the empty database at that time."""
    parts, parameters, always = [], [], []
    for invariant in INVARIANTS:
        made = _statements(invariant, now)
        found = " OR ".join(f"EXISTS ({statement})" for statement, _ in made)
        part = f"SELECT '{invariant.number}' WHERE {found}"
        values = [value for _, ones in made for value in ones]
        with connection.cursor() as cursor:
            cursor.execute(part, values)
            if cursor.fetchall():
                always.append(invariant.number)
                continue
        parts.append(part)
        parameters += [_aged(value, now) for value in values]
    return Kept(" UNION ALL ".join(parts), tuple(parameters), tuple(always))


def _execute_prepared(cursor: CursorWrapper, kept: Kept, now: datetime) -> None:
    """Let PostgreSQL plan the statement once for a connection: planning takes 17 ms.

    The plan is of empty tables, so it must not loop over a table for each row of another one. The
    statement has no time limit, as `hopper check` has none.
    """
    if connection.connection not in _PREPARED:
        text = cursor.mogrify(kept.statement, _dated(kept.parameters, FAR))
        for age in AGES:
            moment = cursor.mogrify("%s", [FAR - age])
            text = text.replace(moment, f"($1 - interval '{age.total_seconds()} s')")
        cursor.execute(f"PREPARE unsound (timestamptz) AS {text}")
        _PREPARED.add(connection.connection)
    with transaction.atomic():
        cursor.execute("SET LOCAL statement_timeout = 0")
        cursor.execute("SET LOCAL enable_nestloop = off")
        cursor.execute("EXECUTE unsound (%s)", [now])
        # The settings would else stay until the end of a transaction around this one.
        transaction.set_rollback(True)


def _statements(invariant: Invariant, now: datetime) -> list[tuple[str, tuple[Any, ...]]]:
    made: list[tuple[str, tuple[Any, ...]]] = []

    def note(execute: Callable[..., Any], sql: str, params: Any, many: bool, context: Any) -> Any:
        made.append((sql if params is not None else sql.replace("%", "%%"), tuple(params or ())))
        return execute(sql, params, many, context)

    with connection.execute_wrapper(note):
        assert not list(invariant.breaches(Extent(now)))
    return made


def _aged(value: Any, now: datetime) -> Any:
    adapt = connection.ops.adapt_datetimefield_value
    return next((age for age in AGES if adapt(now - age) == value), value)


def _dated(parameters: tuple[Any, ...], now: datetime) -> list[Any]:
    adapt = connection.ops.adapt_datetimefield_value
    return [adapt(now - one) if isinstance(one, timedelta) else one for one in parameters]
