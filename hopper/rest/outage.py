"""A database that cannot serve now: the caller should try again, and nothing here is wrong."""

from __future__ import annotations

from django.db import Error, InterfaceError, OperationalError

RETRY_SECONDS = 1

# PostgreSQL's classes and codes: connection lost, out of resources, server going down or coming up,
# idle in a transaction for too long, victim of a deadlock, lock or statement timed out, read-only.
_STATES = ("08", "53", "57P", "25P03", "40001", "40P01", "55P03", "57014", "25006")
# SQLite: busy, locked, read-only, input or output failed, full, cannot be opened.
_CODES = frozenset({5, 6, 8, 10, 13, 14})


def is_outage(error: BaseException | None) -> bool:
    """Return whether the database was out of reach or busy, rather than asked something wrong."""
    if not isinstance(error, Error):
        return False
    cause = error.__cause__
    code = getattr(cause, "sqlite_errorcode", None)
    if code is not None:
        return code & 0xFF in _CODES
    state = getattr(cause, "sqlstate", None)
    if state is not None:
        return str(state).startswith(_STATES)
    # A connection that failed or is gone has no code; SQLite's errors always have one.
    return isinstance(error, OperationalError | InterfaceError) and _of_postgres(cause)


def _of_postgres(cause: BaseException | None) -> bool:
    return type(cause).__module__.split(".")[0] == "psycopg"
