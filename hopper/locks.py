"""The lock primitives of R6; on SQLite an immediate transaction stands for all of them."""

from __future__ import annotations

from typing import TypeVar

from django.db import connection, models

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
