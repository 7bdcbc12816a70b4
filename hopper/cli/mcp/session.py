"""The leases of one MCP session: kept alive while the session lasts, given back at its end."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from hopper.cli.transport import Client, CliError, at
from hopper.cli.worker.attempt import Lease
from hopper.cli.worker.beat import ANSWER, Pulse
from hopper.cli.worker.wakeup import say

LOOK = 1.0  # seconds between looks for a beat that is due
CALLS_END = 5.0  # seconds that calls under way have to end before the leases are given back


class Held:
    """A lease that this session holds. It is kept alive for `longest` seconds at most."""

    def __init__(self, pulse: Pulse, until: float) -> None:
        self.pulse = pulse
        self.until = until

    @property
    def lease(self) -> Lease:
        return self.pulse.lease


class SessionLeases:
    """Sends the heartbeats of every lease of a session; gives all of them back at its end.

    An agent may think, or run one long tool, for longer than a lease lasts: a heartbeat says that
    its session is alive, a checkpoint says that its work goes on. The beats for a lease stop after
    the `max_runtime_seconds` of its attempt; then it runs out. A lease that is given back is no
    failed attempt (R15). `clock` returns seconds. All methods may be called from any thread.
    """

    def __init__(
        self, client: Client, worker: str, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.worker = worker
        self._client = client
        self._clock = clock
        self._held: dict[str, Held] = {}
        self._changed = threading.Condition()
        self._calls = 0
        self._ended = threading.Event()

    def start(self) -> None:
        """Beat from a thread of its own until the session ends."""
        threading.Thread(target=self._beat_until_end, name="beats", daemon=True).start()

    def keep(self, task: dict[str, Any], worker: str) -> None:
        """Hold the lease of a task just claimed; give it back at once if the session has ended."""
        granted = task["lease"]
        lease = Lease("", worker, task["id"], granted["token"])
        longest = granted.get("max_runtime_seconds") or float("inf")
        held = Held(
            Pulse(self._client, lease, granted["seconds"], self._clock), self._clock() + longest
        )
        with self._changed:
            ended = self._ended.is_set()
            if not ended:
                self._held[lease.task_id] = held
        if ended:
            self._give_back(lease)

    def token(self, task_id: str) -> str | None:
        """Return the token of a lease that this session holds, if any."""
        with self._changed:
            held = self._held.get(task_id)
        return held.lease.token if held else None

    def task_ids(self) -> list[str]:
        """Return the ids of the tasks whose leases this session holds, oldest first."""
        with self._changed:
            return list(self._held)

    def drop(self, task_id: str, token: str | None = None) -> None:
        """Hold a lease no longer; with `token` only if it is that one's."""
        with self._changed:
            held = self._held.get(task_id)
            if held is not None and token in (None, held.lease.token):
                del self._held[task_id]

    @contextmanager
    def call(self) -> Iterator[None]:
        """Mark a call as under way: the session's end waits for it, for some seconds."""
        with self._changed:
            self._calls += 1
        try:
            yield
        finally:
            with self._changed:
                self._calls -= 1
                self._changed.notify_all()

    def beat_where_due(self) -> None:
        """Send the heartbeats that are due; hold no lease that is over or has had its time."""
        with self._changed:
            held = list(self._held.values())
        for one in held:
            if self._clock() >= one.until:
                say(f"{one.lease.task_id}: its time is over (max_runtime_seconds); no more beats")
                self.drop(one.lease.task_id, one.lease.token)
            elif one.pulse.wait == 0:
                one.pulse.beat()
                if one.pulse.over is not None:
                    say(f"{one.lease.task_id}: {one.pulse.over.message}")
                    self.drop(one.lease.task_id, one.lease.token)

    def end(self, patience: float = CALLS_END) -> None:
        """Give every lease back; repeating does nothing.

        Calls under way have `patience` seconds to end before.
        """
        with self._changed:
            self._changed.wait_for(lambda: self._calls == 0, timeout=patience)
            self._ended.set()
            held, self._held = list(self._held.values()), {}
        for one in held:
            self._give_back(one.lease)

    def _beat_until_end(self) -> None:
        while not self._ended.wait(LOOK):
            self.beat_where_due()

    def _give_back(self, lease: Lease) -> None:
        body = {"worker": lease.worker, "token": lease.token, "reason": "its session ended"}
        try:
            self._client.post(at("tasks", lease.task_id, "release"), body, key="", seconds=ANSWER)
        except CliError as error:
            say(f"{lease.task_id}: not given back: {error.message}")
