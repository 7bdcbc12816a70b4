"""The guard: a small process that runs one command and stores how it ended.

The guard starts the command in a session of its own and waits for its end. Then it ends every
process that the command left running, and only then says how the command ended: in `end.json` and
on its standard output. The guard outlives a worker that is killed: it still stores the exit code,
and no command goes on without its worker.

The guard runs as a script (`python -I -S guard.py FOLDER GRACE COMMAND ...`) and needs the standard
library alone. Standard input brings orders: `T` ends the command (SIGTERM, after GRACE seconds
SIGKILL), `K` kills it. The end of the input means that the worker died, and counts as `T`.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import select
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

CONTROL = 0  # standard input
REST = 2.0  # seconds that processes left by a command have between SIGTERM and SIGKILL
GIVE_UP = 5.0  # seconds after SIGKILL: a process that hangs in the kernel cannot be waited for
LOOK = 0.05  # seconds between looks while processes are being killed
SUBREAPER = 36  # PR_SET_CHILD_SUBREAPER of prctl(2)


class Guard:
    """Watches one command and its descendants until the last of them has ended."""

    def __init__(self, pid: int, grace: float) -> None:
        self.pid = pid
        self.grace = grace
        self.code: int | None = None
        self.abandoned = False
        self._kill_at = math.inf

    def watch(self, wake: int) -> None:
        """Return when the command and everything that it started has ended."""
        inputs = [CONTROL, wake]
        while self._reap():
            now = time.monotonic()
            if now >= self._kill_at:
                self._signal(signal.SIGKILL)
                if now >= self._kill_at + GIVE_UP:
                    return
            pause = LOOK if now >= self._kill_at else min(self._kill_at - now, 0.2)
            ready, _, _ = select.select(inputs, [], [], None if self._waits() else pause)
            if wake in ready:
                os.read(wake, 1024)
            if CONTROL in ready and not self._obey(os.read(CONTROL, 16)):
                inputs.remove(CONTROL)

    def _waits(self) -> bool:
        return self._kill_at == math.inf

    def _obey(self, orders: bytes) -> bool:
        """Carry out orders; return False at their end."""
        self.abandoned = self.abandoned or not orders
        self._end(0 if b"K" in orders else self.grace)
        return bool(orders)

    def _end(self, grace: float) -> None:
        """Ask all processes to end; kill them after `grace` seconds, or earlier if said before."""
        if self._waits():
            self._signal(signal.SIGTERM)
        self._kill_at = min(self._kill_at, time.monotonic() + grace)

    def _reap(self) -> bool:
        """Collect ended processes; return whether any is left."""
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return _is_alive(self.pid)
            if pid == 0:
                return True
            if pid == self.pid:
                self.code = os.waitstatus_to_exitcode(status)
                self._end(REST)

    def _signal(self, number: int) -> None:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, number)
        for pid in _children():
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(pid, number)


def _is_alive(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except (ProcessLookupError, PermissionError):
        return False
    return True


def _children() -> list[int]:
    """Return the processes below the guard, also those that left the command's group (Linux)."""
    own = os.getpid()
    try:
        return [int(pid) for pid in Path(f"/proc/{own}/task/{own}/children").read_text().split()]
    except OSError:
        return []


def _adopt_orphans() -> None:
    """Become the parent of processes whose own parent has ended (Linux)."""
    with contextlib.suppress(ImportError, OSError, AttributeError):
        import ctypes

        ctypes.CDLL(None).prctl(SUBREAPER, 1, 0, 0, 0)


def _bell() -> int:
    """Return a descriptor that is readable when a process has ended; ignore other signals."""
    read, write = os.pipe()
    os.set_blocking(read, False)
    os.set_blocking(write, False)
    signal.set_wakeup_fd(write, warn_on_full_buffer=False)
    # Handlers that do nothing: unlike SIG_IGN, they are not inherited by the command.
    for name in ("SIGCHLD", "SIGHUP", "SIGINT", "SIGQUIT", "SIGTERM"):
        signal.signal(getattr(signal, name), lambda number, frame: None)
    return read


def _start(folder: Path, command: list[str]) -> int:
    """Start the command with the task on its input, its output in files; return its id."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND
    child = subprocess.Popen(  # noqa: S603 - running the user's command is the purpose
        command,
        stdin=os.open(folder / "task", os.O_RDONLY),
        stdout=os.open(folder / "output", flags, 0o600),
        stderr=os.open(folder / "errors", flags, 0o600),
        start_new_session=True,
    )
    child.returncode = 0  # The guard waits for all of its children by itself.
    return child.pid


def store(path: Path, value: Any) -> None:
    """Write JSON to a file, readable by its owner alone: whole and on the disk, or not at all."""
    draft = path.with_name(f"{path.name}.new")
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC
    with os.fdopen(os.open(draft, flags, 0o600), "w", encoding="utf-8") as file:
        json.dump(value, file)
        file.flush()
        os.fsync(file.fileno())
    draft.rename(path)


def main(folder: Path, grace: float, command: list[str]) -> None:
    """Run the command to its end and say how it ended."""
    wake = _bell()
    _adopt_orphans()
    try:
        guard = Guard(_start(folder, command), grace)
    except OSError as error:
        end: dict[str, Any] = {"error": f"{command[0]} cannot be run: {error.strerror}"}
    else:
        # The worker reads this if the guard itself is killed.
        with contextlib.suppress(OSError):
            store(folder / "group", guard.pid)
        guard.watch(wake)
        end = {"code": guard.code, "abandoned": guard.abandoned}
    with contextlib.suppress(OSError):
        store(folder / "end.json", end)
    with contextlib.suppress(OSError):
        os.write(1, json.dumps(end).encode())


if __name__ == "__main__":
    main(Path(sys.argv[1]), float(sys.argv[2]), sys.argv[3:])
