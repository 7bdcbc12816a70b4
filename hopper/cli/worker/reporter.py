"""The reporter: sends the report of an attempt, and repeats it until there is an answer."""

from __future__ import annotations

import math
import time
from pathlib import Path

from hopper.cli.transport import Client, CliError, at, clean
from hopper.cli.worker.answers import Meaning, ended_by_command, is_unknown, of_report, require_task
from hopper.cli.worker.attempt import Attempt, Lease, Report, left_over
from hopper.cli.worker.beat import ANSWER, Beat
from hopper.cli.worker.child import GRACE
from hopper.cli.worker.results import report_of
from hopper.cli.worker.wakeup import RetryPause, Wakeup, say

OUTCOMES = {"complete": "completed", "fail": "failed", "release": "released"}
LOST, KEPT = "lost", "kept"
LOOK_SECONDS = 10.0  # between looks for reports that were not delivered
FIRST, LONGEST = 0.5, 5.0  # seconds between repeats of a report


class Reporter:
    """Delivers the reports of one worker, and those that dead workers left in `results`."""

    def __init__(self, client: Client, results: Path, server: str, wakeup: Wakeup) -> None:
        self._client = client
        self._results = results
        self._server = server
        self._wakeup = wakeup
        self._looked_at = -LOOK_SECONDS
        self._refused: set[Path] = set()
        """The attempts whose report the server refuses: a later worker tries again."""

    def deliver(self, lease: Lease, report: Report, attempt: Attempt | None, beat: Beat) -> str:
        """Report until there is a definite answer or the lease is surely over; return the outcome.

        The report is stored before it is sent for the first time. Where it stays unanswered it is
        kept on disk, to be sent again by the next worker that starts here.
        """
        if attempt is not None:
            _save(attempt, report)
        retry = RetryPause(self._wakeup, FIRST, LONGEST)
        give_up = math.inf
        while True:
            try:
                return self._send(lease, report, attempt)
            except CliError as error:
                if self._wakeup.stops:
                    give_up = min(give_up, time.monotonic() + GRACE)
                is_late = self._wakeup.stops > 1 or time.monotonic() >= give_up
                if is_late or beat.surely_over():
                    return _keep(lease, attempt, error)
                retry.pause(f"{lease.task_id} is not reported yet: {error.message}")

    def deliver_left_over(self) -> None:
        """Send once the reports that dead workers left and this worker kept; look every 10 s."""
        if time.monotonic() < self._looked_at + LOOK_SECONDS:
            return
        self._looked_at = time.monotonic()
        for attempt in left_over(self._results, self._server):
            if attempt.folder in self._refused:
                attempt.leave()
                continue
            report = attempt.saved() or report_of(attempt, attempt.end())
            _save(attempt, report)
            try:
                outcome = self._send(attempt.lease, report, attempt)
            except CliError:
                attempt.leave()
                return
            if outcome == KEPT:
                self._refused.add(attempt.folder)
                continue
            say(f"{attempt.lease.task_id} {outcome}: reported after the end of its worker")

    def _send(self, lease: Lease, report: Report, attempt: Attempt | None) -> str:
        """Send a report once and return its outcome; raise CliError where that may pass.

        A result that the server refuses is sent shorter: the command has done its work.
        """
        for number, fields in enumerate([report.fields, *report.less]):
            body = {"worker": lease.worker, "token": lease.token, **fields}
            key = f"{report.key}{number or ''}"
            try:
                path = at("tasks", lease.task_id, report.verb)
                answer = self._client.post(path, clean(body), key=key, seconds=ANSWER)
                require_task(answer, lease.task_id)
            except CliError as error:
                outcome = self._judge(lease, error)
                if outcome is None:
                    continue
                if report.verb == "complete" and is_unknown(error):
                    return _keep(lease, attempt, error)
            else:
                outcome = OUTCOMES[report.verb]
            if attempt is not None:
                attempt.close(keeps_output=report.keeps_output or number > 0)
            return outcome
        return _keep(lease, attempt, CliError("the server refuses the report"))

    def _judge(self, lease: Lease, error: CliError) -> str | None:
        """Return the outcome that a refusal means, or None where other fields may be taken."""
        meaning = of_report(error)
        if meaning is Meaning.WAIT:
            raise error
        say(f"{lease.task_id}: {error.message}")
        return None if meaning is Meaning.REFUSED else ended_by_command(error) or LOST


def _save(attempt: Attempt, report: Report) -> None:
    try:
        attempt.save(report)
    except OSError as error:
        say(f"{attempt.lease.task_id}: the report is not stored in {attempt.folder}: {error}")


def _keep(lease: Lease, attempt: Attempt | None, error: CliError) -> str:
    """Leave a report where it is, for a later worker; say where."""
    if attempt is None:
        say(f"{lease.task_id}: not reported: {error.message}")
        return LOST
    attempt.leave()
    say(f"{lease.task_id}: not reported: {error.message} It is kept in {attempt.folder}")
    return KEPT
