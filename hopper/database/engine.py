"""The promises that each database engine keeps in its own way."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from contextlib import AbstractContextManager
from datetime import datetime
from pathlib import Path
from typing import Any

from django.db import Error
from django.db.backends.utils import CursorWrapper
from django.db.models import QuerySet

Write = tuple[str, list[Any]]


class BackupError(Exception):
    """The reason, in words for the operator, why a backup was not written or not restored."""


class Engine(ABC):
    """The differences between the databases. Rooms call these methods and never ask the vendor.

    tests/house/test_engines.py holds each method to its promise on both databases.
    """

    greatest: str
    """The function that returns the greatest of its arguments, none of which is NULL."""
    least: str
    """The function that returns the least of its arguments, none of which is NULL."""
    once: str
    """The word after AS that makes the database evaluate a common table expression once."""
    writes_in_with: bool
    """Whether one statement may read what the INSERTs and UPDATEs in its WITH return."""
    keeps_functions: bool
    """Whether the database keeps functions in PL/pgSQL."""
    clock: str
    """The SQL expression of the present, for a statement that `writes_in_with`."""
    sharing: str
    """The end of a SELECT that locks its rows against change, not against other sharers."""
    by_bytes: str
    """The word after a text in ORDER BY that orders texts as `sorted` does."""
    one_writer: bool
    """Whether a transaction that may write has waited for all others when it begins."""
    ids_follow_commits: bool
    """Whether rows become visible in the order of the ids that the database makes."""
    on_this_machine: bool
    """Whether the database is a file here: all its processes read the key that lies beside it."""

    @abstractmethod
    def now(self, cursor: CursorWrapper) -> datetime:
        """Return the present by the one clock that decides for all servers."""

    @abstractmethod
    def is_quiet(self) -> bool:
        """Return whether the server has said nothing on this thread's idle connection.

        Sends nothing. A server that has ended has closed the connection.
        """

    @abstractmethod
    def read_with_now(
        self, cursor: CursorWrapper, statement: str, params: Any
    ) -> tuple[list[tuple[Any, ...]], datetime]:
        """Return the rows of a SELECT with at least one row, and the present, read after them."""

    @abstractmethod
    def estimated_number(self, rows: QuerySet[Any]) -> int | None:
        """Return about how many rows there are, without reading them; None without an estimate."""

    @abstractmethod
    def moment(self, value: Any) -> datetime | None:
        """Return a time that a statement without models has read, None for none."""

    @abstractmethod
    def lock_names(self, cursor: CursorWrapper, names: Sequence[str], *, shared: bool) -> None:
        """Take the locks of these names, in this order, until the transaction ends."""

    @abstractmethod
    def lock_within(self, cursor: CursorWrapper, name: str, seconds: float) -> bool:
        """Take the lock of a name, if it is free within so many seconds; return whether it is."""

    @abstractmethod
    def try_lock(self, cursor: CursorWrapper, key: int) -> bool:
        """Take the lock of a key until the transaction ends; False where another holds it."""

    @abstractmethod
    def alone(self, key: int) -> AbstractContextManager[None]:
        """Hold the lock of a key over several transactions, once nobody else holds it."""

    @abstractmethod
    def limit_waiting(self, cursor: CursorWrapper, seconds: int) -> None:
        """Limit how long a statement of the transaction waits for a lock."""

    @abstractmethod
    def store_settings(self, cursor: CursorWrapper) -> None:
        """Store Hopper's settings in the database, for this session and every later one."""

    @abstractmethod
    def lacking_settings(self, cursor: CursorWrapper) -> list[str]:
        """Return the settings of this session that are not as `store_settings` sets them."""

    @abstractmethod
    def lift_time_limit(self, cursor: CursorWrapper) -> None:
        """Remove the time limit of statements in this session."""

    @abstractmethod
    def store_busy(self, cursor: CursorWrapper, table: str, *, busy: bool) -> None:
        """Keep a table whose rows change all the time roomy, clean and analysed; or as any."""

    @abstractmethod
    def drop_prefix_indexes(self, cursor: CursorWrapper, app: str) -> None:
        """Drop the indexes for prefixes of texts that Django makes. No statement uses them."""

    @abstractmethod
    def snapshot(self) -> AbstractContextManager[None]:
        """Read one moment of the database until the end; outside any transaction."""

    @abstractmethod
    def commit_early(
        self, cursor: CursorWrapper, statement: str, params: Any
    ) -> list[tuple[Any, ...]]:
        """Execute and commit a statement that writes; return its rows once the disk has the commit.

        The locks of the statement are free before the wait for the disk (ADR 0018). Inside a
        transaction the statement is executed as any other.
        """

    @abstractmethod
    def write_together(self, cursor: CursorWrapper, writes: Sequence[Write]) -> None:
        """Execute writes that do not read one another, in as few statements as possible."""

    @abstractmethod
    def locking(self, table: str, *, skip: bool) -> str:
        """Return the end of a SELECT that locks its rows of the table for change.

        With `skip` it leaves out the rows that others hold, else it waits for them.
        """

    @abstractmethod
    def any_word(self, column: str, mark: str, words: Sequence[str]) -> tuple[str, Any]:
        """Return the condition that a JSON list holds at least one of the words.

        `mark` is the placeholder; the second value is its parameter.
        """

    @abstractmethod
    def all_words(self, column: str, mark: str, words: Sequence[str]) -> tuple[str, Any]:
        """Return the condition that a JSON list holds every one of the words."""

    @abstractmethod
    def only_words(self, column: str, mark: str, words: Sequence[str]) -> tuple[str, Any]:
        """Return the condition that a JSON list holds none but the words."""

    @abstractmethod
    def is_outage(self, error: Error) -> bool:
        """Return whether the error says that the database is out of reach or busy."""

    @abstractmethod
    def cause_of(self, error: Error) -> str:
        """Return why the database took no change, "" where only waiting helps. For an outage."""

    @abstractmethod
    def back_up(self, path: Path) -> None:
        """Write the whole database, as it is at one moment, to an empty file. Raises BackupError.

        Writers go on meanwhile.
        """

    @abstractmethod
    def restore(self, path: Path) -> None:
        """Replace the whole database by a backup, or change nothing. Raises BackupError."""
