"""The wait of the worker's main thread: for signals, the beat, the guard, or time."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import sys
import time
from types import TracebackType
from typing import Any

from hopper.cli.render.screen import escaped, one_line
from hopper.masks import masked

SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT)


class Wakeup:
    """Wakes the main thread. `stops` counts the signals that asked the worker to stop.

    A pipe, not a lock: a signal's handler and another thread may wake it at any moment.
    """

    def __init__(self) -> None:
        self.stops = 0
        self._stops_heard = 0
        self._before: dict[signal.Signals, Any] = {}
        self._read, self._write = os.pipe()
        os.set_blocking(self._read, False)
        os.set_blocking(self._write, False)

    def __enter__(self) -> Wakeup:
        """Take the signals over, but not one that was ignored (`nohup`)."""
        for number in SIGNALS:
            if signal.getsignal(number) != signal.SIG_IGN:
                self._before[number] = signal.signal(number, self._stop)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def wake(self) -> None:
        """Wake the main thread, now or at its next wait."""
        with contextlib.suppress(BlockingIOError):
            os.write(self._write, b"!")

    def wait(self, seconds: float, *descriptors: int) -> None:
        """Return after `seconds`, at a wake-up, or when a descriptor is readable."""
        ready, _, _ = select.select([self._read, *descriptors], [], [], max(seconds, 0))
        if self._read in ready:
            os.read(self._read, 1024)

    def pause(self, seconds: float) -> None:
        """Return after `seconds`, or at once where a signal has come since the last pause."""
        until = time.monotonic() + seconds
        while self.stops == self._stops_heard and (left := until - time.monotonic()) > 0:
            self.wait(left)
        self._stops_heard = self.stops

    def _stop(self, number: int, frame: object) -> None:
        self.stops += 1
        self.wake()


class RetryPause:
    """Pauses between repeats: each twice as long as the last one. The reason is written once."""

    def __init__(self, wakeup: Wakeup, first: float, longest: float) -> None:
        self._wakeup = wakeup
        self._first, self._longest = first, longest
        self._seconds = first
        self._reason = ""

    def pause(self, reason: str) -> None:
        """Write the reason, unless it is the same as before, and wait."""
        if reason != self._reason:
            say(f"waiting: {reason}")
        self._reason = reason
        self._wakeup.pause(self._seconds)
        self._seconds = min(self._seconds * 2, self._longest)

    def reset(self) -> None:
        """Begin again with the shortest pause, because the wait has ended."""
        self._seconds, self._reason = self._first, ""


def say(text: str) -> None:
    """Write a line of progress on stderr, control characters escaped; never fail at it."""
    # A closed or full stderr must not cost a task. Closed at the start it is None.
    with contextlib.suppress(OSError, ValueError, AttributeError):
        sys.stderr.write(masked(escaped(one_line(text))) + "\n")
        sys.stderr.flush()
