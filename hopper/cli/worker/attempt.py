"""The files of one attempt: the task, the command's output, its end, and the report.

Each attempt has a folder below `results`, beside the store of this machine, readable by its owner
alone. The worker and the guard hold a lock on the folder. If the lock is free, both are dead.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import secrets
import shutil
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote

from hopper.cli.worker.guard import store


@dataclass(frozen=True)
class Lease:
    """A task that is this worker's: its id and the lease's token, known to `server`."""

    server: str
    worker: str
    task_id: str
    token: str


@dataclass(frozen=True)
class Report:
    """The report of a worker at the end of an attempt: the verb and its fields.

    `less` are poorer fields for a server that refuses the fields, in order. `key` is the report's
    Idempotency-Key. `keeps_output`: the output is not in the result as a whole.
    """

    verb: str
    fields: dict[str, Any]
    less: list[dict[str, Any]] = field(default_factory=list)
    key: str = field(default_factory=lambda: secrets.token_hex(16))
    keeps_output: bool = False


@dataclass(frozen=True)
class Attempt:
    """The folder of one attempt, locked by this process."""

    folder: Path
    lease: Lease
    lock: int

    @classmethod
    def open(cls, results: Path, lease: Lease, task: Any) -> Attempt:
        """Make the folder, with the task for the command's input. Raises OSError."""
        results.mkdir(mode=0o700, parents=True, exist_ok=True)
        folder = results / f"{quote(lease.task_id, safe='')[:100]}.{secrets.token_hex(4)}"
        folder.mkdir(mode=0o700)
        lock = _locked(folder)
        if lock is None:
            raise OSError(f"{folder} is locked")
        try:
            store(folder / "task", task)
            store(folder / "lease.json", asdict(lease))
        except OSError:
            shutil.rmtree(folder, ignore_errors=True)
            os.close(lock)
            raise
        return cls(folder, lease, lock)

    @property
    def output(self) -> Path:
        return self.folder / "output"

    def save(self, report: Report) -> None:
        """Store the report: from now on a restarted worker delivers it. Raises OSError."""
        store(self.folder / "report.json", asdict(report))

    def saved(self) -> Report | None:
        """Return the report that was stored."""
        found = _read(self.folder / "report.json")
        return Report(**found) if found else None

    def end(self) -> dict[str, Any]:
        """Return how the command ended, as the guard stored it; empty if it did not."""
        return dict(_read(self.folder / "end.json") or {})

    def group(self) -> int | None:
        """Return the process group of the command, if one was started."""
        found = _read(self.folder / "group")
        return int(found) if found else None

    def close(self, *, keeps_output: bool = False) -> None:
        """Remove the files, except the output if it `keeps_output`, and free the lock."""
        with contextlib.suppress(OSError):
            for file in self.folder.iterdir():
                if not (keeps_output and file == self.output):
                    file.unlink(missing_ok=True)
            if not keeps_output:
                self.folder.rmdir()
        os.close(self.lock)

    def leave(self) -> None:
        """Free the lock and keep the files: they are delivered later."""
        os.close(self.lock)


def left_over(results: Path, server: str) -> Iterator[Attempt]:
    """Yield the attempts on tasks of `server` that dead workers left, each locked, oldest first."""
    if not results.is_dir():
        return
    for file in sorted(results.glob("*/lease.json"), key=_age):
        lease = _read(file)
        if not lease or lease["server"] != server:
            continue
        lock = _locked(file.parent)
        if lock is None:
            continue
        if file.exists():
            yield Attempt(file.parent, Lease(**lease), lock)
        else:
            os.close(lock)


def _age(file: Path) -> float:
    with contextlib.suppress(OSError):
        return file.stat().st_mtime
    return 0.0


def _locked(folder: Path) -> int | None:
    """Return a descriptor that locks the folder, or None while another process has the lock."""
    try:
        descriptor = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(descriptor)
        return None
    return descriptor


def _read(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
