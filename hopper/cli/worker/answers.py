"""The meaning of the server's answers for a worker; no other place judges them."""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from typing import Any, TypeGuard

from hopper.cli.transport import CliError, Refused, Reply, Unreachable

MAY_PASS = frozenset({401, 408, 425, 429})
BY_THE_COMMAND = frozenset({"asked", "completed"})
"""Ends of an attempt after which the command may go on: nobody else works on the task then."""


class Meaning(Enum):
    """The worker's reaction to an answer that is no success."""

    WAIT = "the cause may pass: wait and repeat"
    OVER = "the lease is over: the task is no longer this worker's"
    REFUSED = "repeating will not help"


def of_claim(error: CliError) -> Meaning:
    """Return what a claim's answer means; a paused or missing instance may still come."""
    if isinstance(error, Refused) and error.status in (404, 409):
        return Meaning.REFUSED if error.code == "does_not_execute" else Meaning.WAIT
    return _of_any(error)


def of_report(error: CliError) -> Meaning:
    """Return what the answer to a heartbeat, complete, fail or release means."""
    if _is_hoppers(error) and error.status in (404, 409, 410):
        return Meaning.OVER
    return _of_any(error)


def require_done(answer: Mapping[str, Any]) -> None:
    """Raise Refused where the report in an answer of `next` was refused; name what was claimed."""
    (verdict,) = answer["completed"]
    if verdict["problem"] is None:
        return
    refusal = Refused(Reply(verdict["problem"]["status"], verdict["problem"]))
    taken = ", ".join(task["id"] for task in answer["tasks"])
    refusal.hint = f"The next task is claimed all the same: {taken}." if taken else refusal.hint
    raise refusal


def ended_by_command(error: CliError) -> str:
    """Return how the command itself ended the attempt (`asked`, ...), or nothing."""
    if not isinstance(error, Refused):
        return ""
    if (error.code, error.problem.get("state")) == ("already_ended", "done"):
        return "completed"
    outcome = error.problem.get("outcome")
    return outcome if outcome in BY_THE_COMMAND else ""


def is_unknown(error: CliError) -> bool:
    """Return whether the server shows no such task, and so stored nothing."""
    return isinstance(error, Refused) and error.status == 404


def require_task(answer: Any, task_id: str) -> None:
    """Raise Unreachable for the success of a report that is not Hopper's, which returns the task.

    A proxy may answer in place of a server that is away.
    """
    if not isinstance(answer, dict) or answer.get("id") != task_id:
        raise Unreachable("The server answers a report, but not as Hopper does.")


def _of_any(error: CliError) -> Meaning:
    if isinstance(error, Unreachable):
        return Meaning.WAIT
    if not isinstance(error, Refused):
        return Meaning.REFUSED
    # A proxy says 404 or 403 while the server is away; of a body too large it says so for good.
    is_by_proxy = not _is_hoppers(error) and error.status != 413
    may_pass = is_by_proxy or error.status >= 500 or error.status in MAY_PASS
    return Meaning.WAIT if may_pass else Meaning.REFUSED


def _is_hoppers(error: CliError) -> TypeGuard[Refused]:
    """Return whether Hopper itself refuses: with a problem, which has a code."""
    return isinstance(error, Refused) and bool(error.code) and "type" in error.problem
