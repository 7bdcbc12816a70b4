"""The leases that commands took, kept beside the store: a report needs no token copied by hand.

A kept lease belongs to its task, its worker and its session; no other session reads it. The file
`leases` lies in the folder of the store and is readable by its owner alone.
"""

from __future__ import annotations

import fcntl
import json
import os
import time
from argparse import Namespace
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from hopper import embedded
from hopper.cli import target
from hopper.cli.worker.wakeup import say

FILE = "leases"
LEASE_SECONDS = 300  # the length of a lease of a server that does not tell it
SESSION_VARIABLES = (
    "HOPPER_SESSION",
    "CLAUDE_CODE_SESSION_ID",
    "CLAUDE_SESSION_ID",
    "CODEX_THREAD_ID",
    "GEMINI_SESSION_ID",
)
"""The variables that name the session of an agent, as agents give them to their commands."""
_FORGOTTEN = 86_400  # seconds after its end until a lease is dropped from the file


def session_name() -> str:
    """Return the name of the session of this process: an agent's, else the terminal's."""
    for name in SESSION_VARIABLES:
        if os.environ.get(name):
            return os.environ[name]
    leader = os.getsid(0)
    return f"terminal {leader} since {_started(leader)}"


def _started(process: int) -> str:
    """Return when a process began, so that a number used again names another session."""
    try:
        with open(f"/proc/{process}/stat", encoding="ascii", errors="replace") as stat:
            return stat.read().rsplit(")", 1)[1].split()[19]
    except (OSError, IndexError):
        return "?"


@dataclass(frozen=True)
class KeptLease:
    """A lease of the store or server `place`; `extended_at` is in seconds since 1970."""

    place: str
    session: str
    worker: str
    task_id: str
    token: str
    seconds: int
    extended_at: float

    @property
    def is_due(self) -> bool:
        """Whether a third of the lease has passed since it was extended."""
        return abs(time.time() - self.extended_at) > self.seconds / 3


class KeptLeases:
    """The leases of one session (or a few names of it) at one place."""

    def __init__(self, home: Path, place: str, *sessions: str) -> None:
        self._file = home / FILE
        self._place = place
        self._sessions = sessions or (session_name(),)

    @classmethod
    def of(cls, args: Namespace, *sessions: str) -> KeptLeases:
        """Return the leases at the target of a command."""
        place = target.chosen(args).server or target.database()
        return cls(embedded.find().home, place, *sessions)

    def all(self) -> list[KeptLease]:
        """Return the leases of this session, oldest first."""
        try:
            text = self._file.read_text(encoding="utf-8", errors="replace")
        except OSError:
            return []
        return [row for row in _rows(text) if self._is_mine(row)]

    def find(self, task_id: str, worker: str | None = None) -> KeptLease | None:
        """Return the newest lease of a task that this session took, as `worker` if given."""
        found = [
            row for row in self.all() if row.task_id == task_id and worker in (None, row.worker)
        ]
        return found[-1] if found else None

    def keep(self, task: dict[str, Any], worker: str) -> None:
        """Keep the lease of a task just claimed. Reports a folder that cannot be written."""
        lease = task.get("lease")
        if not lease:
            return
        row = KeptLease(
            self._place,
            self._sessions[0],
            worker,
            task["id"],
            lease["token"],
            lease.get("seconds") or LEASE_SECONDS,
            time.time(),
        )
        self._change(lambda rows: [*(one for one in rows if one.task_id != row.task_id), row])

    def extended(self, task_id: str) -> None:
        """Note that the lease of a task was extended just now."""
        self._change(
            lambda rows: [
                replace(row, extended_at=time.time()) if row.task_id == task_id else row
                for row in rows
            ]
        )

    def forget(self, task_id: str) -> None:
        """Drop the leases of a task that this session kept."""
        if self.find(task_id) is not None:
            self._change(lambda rows: [row for row in rows if row.task_id != task_id])

    def _is_mine(self, row: KeptLease) -> bool:
        return row.place == self._place and row.session in self._sessions

    def _change(self, change: Callable[[list[KeptLease]], list[KeptLease]]) -> None:
        """Write what `change` makes of this session's leases; those of others stay."""
        try:
            with _locked(self._file) as descriptor:
                rows = _rows(_read(descriptor))
                others = [row for row in rows if not self._is_mine(row) and not _is_long_over(row)]
                mine = change([row for row in rows if self._is_mine(row)])
                _write(descriptor, json.dumps([asdict(row) for row in (*others, *mine)]))
        except OSError as error:
            say(f"the lease is not kept in {self._file}: {error.strerror}")


def _is_long_over(row: KeptLease) -> bool:
    return time.time() > row.extended_at + row.seconds + _FORGOTTEN


@contextmanager
def _locked(file: Path) -> Iterator[int]:
    """Open the file, made where it is missing, and lock it. Raises OSError."""
    file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    descriptor = os.open(file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield descriptor
    finally:
        os.close(descriptor)


def _read(descriptor: int) -> str:
    size = os.fstat(descriptor).st_size
    return os.pread(descriptor, size, 0).decode("utf-8", "replace")


def _write(descriptor: int, text: str) -> None:
    data = text.encode()
    os.pwrite(descriptor, data, 0)
    os.ftruncate(descriptor, len(data))


def _rows(text: str) -> list[KeptLease]:
    """Return the leases in the text of the file, without those that are damaged."""
    try:
        listed = json.loads(text or "[]")
    except (ValueError, RecursionError):
        return []
    rows = listed if isinstance(listed, list) else []
    return [row for row in map(_row, rows) if row is not None]


def _row(stored: Any) -> KeptLease | None:
    try:
        row = KeptLease(**stored)
    except TypeError:
        return None
    words = (row.place, row.session, row.worker, row.task_id, row.token)
    numbers = (row.seconds, row.extended_at)
    sound = all(isinstance(one, str) for one in words) and all(map(_is_number, numbers))
    return row if sound else None


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and value >= 0
