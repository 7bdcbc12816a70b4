"""One running command, controlled through its guard."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from types import TracebackType
from typing import IO, Any, cast

from hopper.cli.worker import guard
from hopper.cli.worker.attempt import Attempt

GRACE = 10.0  # seconds between asking a command to end and killing it


class Child:
    """A command that runs for an attempt. Leaving the `with` block kills what is left of it."""

    def __init__(self, attempt: Attempt, command: list[str], environ: dict[str, str]) -> None:
        """Start the guard, which starts the command. Raises OSError."""
        script = [sys.executable, "-I", "-S", guard.__file__, str(attempt.folder), str(GRACE)]
        self._attempt = attempt
        self._outcome_bytes = b""
        # A session of its own: a signal from the terminal reaches the worker alone.
        self._guard = subprocess.Popen(  # noqa: S603 - running the user's command is the purpose
            [*script, *command],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=environ,
            start_new_session=True,
            pass_fds=[attempt.lock],
        )
        self._pipes = cast("tuple[IO[bytes], IO[bytes]]", (self._guard.stdin, self._guard.stdout))
        self._orders, self.descriptor = (pipe.fileno() for pipe in self._pipes)
        os.set_blocking(self.descriptor, False)

    def __enter__(self) -> Child:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._guard.poll() is None:
            self.kill()
            self._guard.wait()
        for pipe in self._pipes:
            pipe.close()

    def ended(self) -> bool:
        """Return whether the command and all that it started have ended."""
        with contextlib.suppress(BlockingIOError):
            while said := os.read(self.descriptor, 65_536):
                self._outcome_bytes += said
            self._guard.wait()
            return True
        return False

    def end(self) -> None:
        """Ask the command to end; after the grace it is killed."""
        self._order(b"T")

    def kill(self) -> None:
        """Kill the command and all that it started."""
        self._order(b"K")

    def outcome(self) -> dict[str, Any]:
        """Return how the command ended: `code`, or `error` where it could not be run."""
        with contextlib.suppress(ValueError):
            return dict(json.loads(self._outcome_bytes))
        self._kill_group()
        return {"error": "the guard of the command was killed"}

    def _kill_group(self) -> None:
        """End a command whose guard is dead."""
        group = self._attempt.group()
        until = time.monotonic() + guard.GIVE_UP
        with contextlib.suppress(ProcessLookupError, PermissionError):
            while group and time.monotonic() < until:
                os.killpg(group, signal.SIGKILL)
                time.sleep(guard.LOOK)

    def _order(self, order: bytes) -> None:
        # A guard that has ended reads no orders.
        with contextlib.suppress(BrokenPipeError):
            os.write(self._orders, order)
