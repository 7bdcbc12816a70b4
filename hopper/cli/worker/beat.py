"""The beat: extends a lease while work goes on, and notices at once that the lease is over."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from hopper.cli.transport import Client, CliError, at
from hopper.cli.worker.answers import Meaning, ended_by_command, of_report, require_task
from hopper.cli.worker.attempt import Lease
from hopper.cli.worker.wakeup import Wakeup, say

MOST = 8.0  # seconds between beats, so that a cancel is noticed within 10 s
SOON = 1.0  # seconds after a beat that got no answer
ANSWER = 10.0  # seconds to wait for an answer to a worker's call
SWEEP = 15.0  # seconds within which a sweep takes back a lease that has run out


class Pulse:
    """The heartbeats of one lease: sends the next one, and says when it is due.

    All times are durations of `clock`, the monotonic clock of this machine. The clock of the server
    is never read.
    """

    def __init__(
        self,
        client: Client,
        lease: Lease,
        seconds: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.lease = lease
        self.over: CliError | None = None
        """Why the lease is over, once it is."""
        self._client = client
        self._seconds = seconds
        self._clock = clock
        self._pause = min(seconds / 3, MOST)
        self._silence = ""
        self._answered_at = clock()
        self._due = self._answered_at + self._pause

    @property
    def wait(self) -> float:
        """The seconds until the next beat is due."""
        return max(0.0, self._due - self._clock())

    def surely_over(self) -> bool:
        """Return whether the lease has run out, counted from the last answered heartbeat."""
        return self._clock() > self._answered_at + self._seconds + SWEEP

    def beat(self) -> None:
        """Send one heartbeat. Without an answer the next one is due soon."""
        body = {"worker": self.lease.worker, "token": self.lease.token}
        path = at("tasks", self.lease.task_id, "heartbeat")
        pause, silence = self._pause, ""
        try:
            # Without a key: a heartbeat may be repeated as it is, and leaves no row behind.
            answer = self._client.post(path, body, key="", seconds=ANSWER)
            require_task(answer, self.lease.task_id)
            self._answered_at = self._clock()
        except CliError as error:
            if of_report(error) is Meaning.OVER:
                self.over = error
            elif error.message != self._silence:
                say(f"{self.lease.task_id}: no heartbeat: {error.message}")
            pause, silence = min(pause, SOON), error.message
        self._silence = silence
        self._due = self._clock() + pause


class Beat(threading.Thread):
    """Sends heartbeats for one lease, from a thread of its own: no call blocks the watching."""

    def __init__(self, client: Client, lease: Lease, seconds: float, wakeup: Wakeup) -> None:
        super().__init__(name=f"beat of {lease.task_id}", daemon=True)
        self._pulse = Pulse(client, lease, seconds)
        self._wakeup = wakeup
        self._ended = threading.Event()

    @property
    def over(self) -> CliError | None:
        """Why the lease is over, once it is."""
        return self._pulse.over

    @property
    def must_end(self) -> bool:
        """Return whether the command has to end: others may have the task by now."""
        return self.over is not None and not ended_by_command(self.over)

    def surely_over(self) -> bool:
        """Return whether the lease has run out, counted from the last answered heartbeat."""
        return self._pulse.surely_over()

    def run(self) -> None:
        """Beat until the lease is over or `end` is called."""
        while not self._ended.wait(self._pulse.wait):
            self._pulse.beat()
            if self.over is not None:
                self._wakeup.wake()
                return

    def end(self) -> None:
        """Send no more heartbeats."""
        self._ended.set()
