"""The beat: extends the lease while a command runs, and notices at once that the lease is over."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

from hopper.cli.transport import Client, CliError, at
from hopper.cli.worker.answers import Meaning, ended_by_command, of_report
from hopper.cli.worker.bell import Bell, say

if TYPE_CHECKING:
    from hopper.cli.worker.attempt import Lease

MOST = 8.0  # seconds between beats, so that a cancel is noticed within 10 s
SOON = 1.0  # seconds after a beat that got no answer
ANSWER = 10.0  # seconds to wait for an answer to a worker's call
SWEEP = 15.0  # seconds within which a sweep takes back a lease that has run out


class Beat(threading.Thread):
    """Sends heartbeats for one lease, from a thread of its own: no call blocks the watching.

    All times are durations of this machine's monotonic clock; no clock of the server's is asked.
    """

    def __init__(self, client: Client, lease: Lease, seconds: float, bell: Bell) -> None:
        super().__init__(name=f"beat of {lease.task_id}", daemon=True)
        self._client = client
        self._lease = lease
        self._seconds = seconds
        self._bell = bell
        self._ended = threading.Event()
        self._answered_at = time.monotonic()
        self.over: CliError | None = None
        """Why the lease is over, once it is."""

    @property
    def must_end(self) -> bool:
        """Return whether the command has to end: others may have the task by now."""
        return self.over is not None and not ended_by_command(self.over)

    def surely_over(self) -> bool:
        """Return whether the lease has run out, counted from the last answered heartbeat."""
        return time.monotonic() > self._answered_at + self._seconds + SWEEP

    def run(self) -> None:
        """Beat until the lease is over or `end` is called."""
        pause = min(self._seconds / 3, MOST)
        silence = ""
        wait = pause
        while not self._ended.wait(wait):
            try:
                self._beat()
                wait, silence = pause, ""
            except CliError as error:
                if self._ended.is_set():
                    return
                if of_report(error) is Meaning.OVER:
                    self.over = error
                    self._bell.ring()
                    return
                if error.message != silence:
                    say(f"{self._lease.task_id}: no heartbeat: {error.message}")
                wait, silence = min(pause, SOON), error.message

    def end(self) -> None:
        """Send no more heartbeats."""
        self._ended.set()

    def _beat(self) -> None:
        body = {"worker": self._lease.worker, "token": self._lease.token}
        path = at("tasks", self._lease.task_id, "heartbeat")
        # Without a key: a heartbeat may be repeated as it is, and leaves no row behind.
        self._client.post(path, body, key="", seconds=ANSWER)
        self._answered_at = time.monotonic()
