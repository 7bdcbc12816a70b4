"""The worker's loop: claim, run, report; wait where an answer may pass; give everything back."""

from __future__ import annotations

import math
import os
import time
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hopper import tracing
from hopper.cli.status_words import spoken
from hopper.cli.transport import Client, CliError, Refused, Unreachable, at, clean
from hopper.cli.worker.answers import Meaning, ended_by_command, of_claim
from hopper.cli.worker.attempt import Attempt, Lease, Report
from hopper.cli.worker.beat import ANSWER, Beat
from hopper.cli.worker.child import Child
from hopper.cli.worker.reporter import LOST, Reporter
from hopper.cli.worker.results import STOPPED, TIMEOUT, failure_to_start, report_of
from hopper.cli.worker.wakeup import RetryPause, Wakeup, say

LEAST_LEASE = 30  # seconds: the shortest lease there is
LONGEST_PAUSE = 10.0  # seconds between claims while something has to pass
LONGEST_WAIT = 5.0  # seconds that a claim waits at a server: a signal is seen after them
SECRETS = ("HOPPER_TOKEN", "HOPPER_DATABASE_URL", "HOPPER_SECRET_KEY")


@dataclass(frozen=True)
class Orders:
    """Options of a worker: its claims, its command, and its end (times in seconds)."""

    name: str
    instance: str
    command: list[str]
    server: str | None
    results: Path
    store: str = ""
    lease_seconds: int | None = None
    capabilities: list[str] | None = None
    tags: list[str] | None = None
    poll: float = 2.0
    max_tasks: int | None = None
    max_runtime: float | None = None
    idle_exit: float | None = None
    pass_token: bool = False


class Worker:
    """One worker process. `tally` counts how its tasks ended."""

    def __init__(self, client: Client, orders: Orders, wakeup: Wakeup) -> None:
        self._client = client
        self._orders = orders
        self._wakeup = wakeup
        self._place = orders.server or orders.store
        self._reporter = Reporter(client, orders.results, self._place, wakeup)
        self._retry_pause = RetryPause(wakeup, min(max(orders.poll, 0.01), 1.0), LONGEST_PAUSE)
        self._claim_key = ""
        # Without a server nobody waits: the call would hold up this thread and its signals.
        longest = min(orders.poll, LONGEST_WAIT) if orders.server else 0
        self._wait = int(longest if orders.idle_exit is None else min(longest, orders.idle_exit))
        self.tally = {"completed": 0, "failed": 0, "released": 0, LOST: 0}

    def run(self) -> None:
        """Work task after task until a stop, idleness or the last task. Raises CliError.

        A worker that waits for the server or for the instance is not idle.
        """
        idle_since = time.monotonic()
        # A claim without an answer is repeated once after a stop: it may have been granted.
        while not self._wakeup.stops or self._claim_key:
            is_last = self._wakeup.stops > 0
            self._reporter.deliver_left_over()
            asked_at = time.monotonic()
            try:
                task = self._claim()
            except CliError as error:
                if of_claim(error) is not Meaning.WAIT:
                    raise
                if is_last or self._wakeup.stops > 1:
                    return
                self._retry_pause.pause(error.message)
                idle_since = time.monotonic()
                continue
            self._retry_pause.reset()
            if task is not None:
                with tracing.span("work on task", task.get("traceparent", ""), task_id=task["id"]):
                    self._work(task)
                idle_since = time.monotonic()
                if self._orders.max_tasks and sum(self.tally.values()) >= self._orders.max_tasks:
                    return
            elif self._is_idle(idle_since):
                return
            else:
                # The claim itself has waited at a server.
                self._wakeup.pause(asked_at + self._orders.poll - time.monotonic())

    def _is_idle(self, since: float) -> bool:
        longest = self._orders.idle_exit
        return longest is not None and time.monotonic() - since >= longest

    def _claim(self) -> dict[str, Any] | None:
        """Return the next task with its lease, or None. A repeat finds what was granted before."""
        orders = self._orders
        body = {
            "worker": orders.name,
            "limit": 1,
            "lease_seconds": orders.lease_seconds,
            "capabilities": orders.capabilities,
            "tags": orders.tags,
        }
        self._claim_key = self._claim_key or uuid.uuid4().hex
        path = at("instances", orders.instance, "claim")
        options = {"params": {"wait": self._wait}} if self._wait else {}
        try:
            answer = self._client.post(
                path, clean(body), key=self._claim_key, seconds=ANSWER, **options
            )
        except Refused as refusal:
            if refusal.status in (404, 409):
                # Nothing was granted under this key; 401 or 503 do not say so.
                self._claim_key = ""
            raise
        self._claim_key = ""
        if not isinstance(answer, dict) or not isinstance(answer.get("tasks"), list):
            raise Unreachable("The server answers a claim, but not as Hopper does.")
        return answer["tasks"][0] if answer["tasks"] else None

    def _work(self, task: dict[str, Any]) -> None:
        """Run the command on one task and report how it ended, whatever happens meanwhile."""
        say(f"{task['id']} claimed: {task['title']}")
        granted = task["lease"]
        lease = Lease(self._place, self._orders.name, task["id"], granted["token"])
        seconds = granted.get("seconds") or self._orders.lease_seconds or LEAST_LEASE
        beat = Beat(self._client, lease, seconds, self._wakeup)
        try:
            beat.start()
            outcome = self._attempt(task, lease, beat)
        except BaseException:
            # The command is dead by now.
            self._reporter.deliver(lease, Report("release", {}), None, beat)
            raise
        finally:
            beat.end()
        self.tally[outcome] = self.tally.get(outcome, 0) + 1
        say(f"{task['id']} {outcome}")

    def _attempt(self, task: dict[str, Any], lease: Lease, beat: Beat) -> str:
        """Return how an attempt ended: what was reported, or why nothing was."""
        attempt: Attempt | None = None
        if self._wakeup.stops:
            return self._reporter.deliver(lease, Report("release", {}), None, beat)
        try:
            attempt = Attempt.open(self._orders.results, lease, spoken(task))
            with Child(attempt, self._orders.command, self._environ(task)) as child:
                limit = self._longest(task)
                why = self._watch(child, beat, limit)
                report = report_of(attempt, child.outcome(), why, limit)
        except OSError as error:
            report = failure_to_start(error)
        if beat.over is not None and report.verb != "complete":
            if attempt is not None:
                attempt.close()
            say(f"{lease.task_id}: {beat.over.message}")
            return ended_by_command(beat.over) or LOST
        return self._reporter.deliver(lease, report, attempt, beat)

    def _watch(self, child: Child, beat: Beat, limit: float) -> str:
        """Wait for the end of the command; return why the worker ended it, if it did."""
        why = ""
        until = time.monotonic() + limit
        while not child.ended():
            if self._wakeup.stops > 1:
                child.kill()
            if not why:
                why = self._reason_to_end(beat, until)
                if why:
                    child.end()
            left = until - time.monotonic() if not why else math.inf
            self._wakeup.wait(min(left, 1.0), child.descriptor)
        # A service manager signals the command as well, which may end before it is asked to.
        return why or (STOPPED if self._wakeup.stops else "")

    def _reason_to_end(self, beat: Beat, until: float) -> str:
        if self._wakeup.stops:
            return STOPPED
        if beat.must_end:
            return LOST
        return TIMEOUT if time.monotonic() >= until else ""

    def _longest(self, task: dict[str, Any]) -> float:
        """Return for how many seconds the command may run: the least limit that was given."""
        limits = (self._orders.max_runtime, task["lease"].get("max_runtime_seconds"))
        return min((float(limit) for limit in limits if limit), default=math.inf)

    def _environ(self, task: dict[str, Any]) -> dict[str, str]:
        """Return the command's environment: it may report on its own task and nothing else."""
        environ = dict(os.environ)
        if not self._orders.pass_token:
            # Without a server the command works on the same database.
            for name in SECRETS if self._orders.server else SECRETS[:1]:
                environ.pop(name, None)
        environ.pop("HOPPER_URL", None)
        if self._orders.server:
            environ["HOPPER_URL"] = self._orders.server
        environ["HOPPER_TASK_ID"] = task["id"]
        environ["HOPPER_INSTANCE_ID"] = task.get("instance_id") or self._orders.instance
        environ["HOPPER_LEASE_TOKEN"] = task["lease"]["token"]
        environ.pop(tracing.VARIABLE, None)
        if trace := tracing.current() or task.get("traceparent"):
            environ[tracing.VARIABLE] = trace
        return environ
