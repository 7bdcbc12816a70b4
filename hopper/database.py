"""The lock primitives of R6; on SQLite an immediate transaction stands for all of them."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeVar

from django.db import connection, models, transaction

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from django.db.models import Model

    Write = tuple[str, list[Any]]

# One fixed key a database; any constant will do as long as nobody else takes it.
TREE_KEY = 0x486F70706572

Row = TypeVar("Row", bound=models.Model)


def lock_tree() -> None:
    """Take the instance-tree lock until the transaction ends (R6, kind 1); read only afterwards."""
    _require_transaction()
    if connection.vendor == "postgresql":
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_advisory_xact_lock(%s)", [TREE_KEY])


def lock_shared(model: type[Row], pk: str) -> Row | None:
    """Lock a row against change, not against other sharers, and return it fresh (R6, kind 2)."""
    _require_transaction()
    if connection.vendor == "postgresql":
        table, key = model._meta.db_table, str(model._meta.pk.column)
        quote = connection.ops.quote_name
        with connection.cursor() as cursor:
            # Django has no word for FOR SHARE, and the FOR KEY SHARE of a foreign key check
            # does not wait for a terminate.
            cursor.execute(
                f"SELECT 1 FROM {quote(table)} WHERE {quote(key)} = %s FOR SHARE",  # noqa: S608
                [pk],
            )
    return model._default_manager.filter(pk=pk).first()


def lock_rows(model: type[Row], pks: list[str]) -> dict[str, Row]:
    """Lock rows for change, in id order, and return those that exist, fresh, by id (R6)."""
    _require_transaction()
    rows = model._default_manager.select_for_update(no_key=True).filter(pk__in=sorted(set(pks)))
    return {str(row.pk): row for row in rows.order_by("pk")}


def lock_row(model: type[Row], pk: str) -> Row | None:
    """Lock one row for change and return it fresh, or None where there is none."""
    return lock_rows(model, [pk]).get(pk)


def limit_waiting(seconds: int) -> None:
    """Until the transaction ends, wait no longer than that for a lock that somebody else holds.

    Whoever would have to is refused by the database (503). On SQLite the transaction has waited
    already, as long as any other.
    """
    _require_transaction()
    if connection.vendor == "postgresql":
        with connection.cursor() as cursor:
            cursor.execute("SELECT set_config('lock_timeout', %s, true)", [f"{seconds}s"])


def _require_transaction() -> None:
    if not connection.in_atomic_block:
        raise RuntimeError("a lock outlives its statement only inside a transaction")


@contextmanager
def snapshot() -> Iterator[None]:
    """See one moment of the database for as long as it lasts; nothing waits, nothing is written.

    Inside somebody's transaction the moments are that transaction's.
    """
    if connection.in_atomic_block:
        yield
    elif connection.vendor == "postgresql":
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")
            yield
    else:
        with connection.cursor() as cursor:
            # Django's own transactions are immediate here: they would keep every writer out.
            cursor.execute("BEGIN DEFERRED")
            try:
                yield
            finally:
                cursor.execute("ROLLBACK")


def write_together(*writes: Write) -> None:
    """Carry out writes that do not read one another: in one statement where the database can."""
    if not writes:
        return
    with connection.cursor() as cursor:
        if connection.vendor != "postgresql":
            for statement, params in writes:
                cursor.execute(statement, params)
            return
        *first, (last, _) = writes
        named = ", ".join(f"w{n} AS ({statement})" for n, (statement, _) in enumerate(first))
        params = [param for _, one in writes for param in one]
        cursor.execute(f"WITH {named} {last}" if first else last, params)


def inserting(rows: Sequence[Model]) -> Write:
    """Return the statement that inserts rows of one model, whose key the database makes."""
    names = ", ".join(columns(rows[0]))
    marks = ", ".join(["%s"] * len(columns(rows[0])))
    table = rows[0]._meta.db_table
    lines = ", ".join([f"({marks})"] * len(rows))
    return (
        f"INSERT INTO {table} ({names}) VALUES {lines}",  # noqa: S608
        [value for row in rows for value in stored(row)],
    )


def updating(row: Model) -> Write:
    """Return the statement that writes a row whole."""
    assignments = ", ".join(f"{name} = %s" for name in columns(row))
    table, key = row._meta.db_table, row._meta.pk.column
    return f"UPDATE {table} SET {assignments} WHERE {key} = %s", [*stored(row), row.pk]  # noqa: S608


def columns(row: Model) -> list[str]:
    """Return the columns of the row's table but its key."""
    return [str(field.column) for field in row._meta.concrete_fields if not field.primary_key]


def stored(row: Model) -> list[Any]:
    """Return the row's values as the database takes them, in the order of `columns`."""
    return [
        field.get_db_prep_save(getattr(row, field.attname), connection)
        for field in row._meta.concrete_fields
        if not field.primary_key
    ]
