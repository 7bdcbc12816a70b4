"""`hopper worker`: claim tasks and let a command do them, under a lease (R21)."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from hopper.cli.arguments import HopperParser, bind
from hopper.cli.status_words import spoken
from hopper.cli.transport import Client, CliError, Refused, Unreachable, UsageError, at, clean

if TYPE_CHECKING:
    from argparse import ArgumentParser, Namespace

    from hopper.cli.render.screen import Screen

TICK = 0.2  # seconds between looks at the stop signal
GRACE = 10  # seconds between asking a command to end and killing it
PATIENCE = 2  # seconds between reports that nobody answers
ERROR_TAIL = 4_000  # bytes of stderr kept with a failure
RESULT_LIMIT = 4_000_000  # bytes of output kept as a result, well below the body limit


class LeaseEnded(Exception):
    """The task is no longer this worker's."""


class Stopped(Exception):
    """The worker was asked to stop."""


@dataclass
class Worker:
    """One worker process: whose tasks it does, with which command, and what came of them."""

    client: Client
    name: str
    instance: str
    command: list[str]
    lease_seconds: int | None = None
    capabilities: list[str] | None = None
    tags: list[str] | None = None
    stop: bool = False
    tally: dict[str, int] = field(
        default_factory=lambda: {"completed": 0, "failed": 0, "released": 0, "lost": 0}
    )

    def claim(self) -> dict[str, Any] | None:
        """Return the next task with its lease, or None."""
        body = {
            "worker": self.name,
            "limit": 1,
            "lease_seconds": self.lease_seconds,
            "capabilities": self.capabilities,
            "tags": self.tags,
        }
        answer = self.client.post(at("instances", self.instance, "claim"), clean(body))
        return answer["tasks"][0] if answer["tasks"] else None

    def report(self, verb: str, task: dict[str, Any], **fields: Any) -> None:
        """Tell how the task goes; raise LeaseEnded when it is no longer ours."""
        token = (task.get("lease") or {}).get("token")
        body = clean({"worker": self.name, "token": token, **fields})
        try:
            self.client.post(at("tasks", task["id"], verb), body)
        except Refused as refusal:
            if refusal.status in (404, 409, 410):
                raise LeaseEnded(refusal.message) from refusal
            raise

    def work(self, task: dict[str, Any]) -> None:
        """Run the command on one task and report how it ended."""
        say(f"{task['id']} claimed: {task['title']}")
        seconds = lease_of(task, self.lease_seconds)
        try:
            code, out, err = self._run(task, seconds)
            outcome = self._deliver(task, time.monotonic() + seconds, code, out, err)
        except LeaseEnded as ended:
            outcome = "lost"
            say(f"{task['id']}: {ended}")
        except Stopped:
            self._release(task)
            outcome = "released"
        self.tally[outcome] += 1
        say(f"{task['id']} {outcome}")

    def _deliver(
        self, task: dict[str, Any], until: float, code: int, out: bytes, err: bytes
    ) -> str:
        words = readable(err[-ERROR_TAIL:]).strip() or ending(code)
        if code == 0:
            try:
                self._insist("complete", task, until, result=result_of(out))
            except Refused as refusal:
                words = f"The result was refused: {refusal.message}"
            else:
                return "completed"
        self._insist("fail", task, until, error=words, retryable=True)
        return "failed"

    def _insist(self, verb: str, task: dict[str, Any], until: float, **fields: Any) -> None:
        """Report, again and again while nobody answers and the lease may still live."""
        while True:
            try:
                return self.report(verb, task, **fields)
            except Unreachable as error:
                if self.stop or time.monotonic() >= until:
                    raise LeaseEnded(f"not reported: {error}") from error
                say(f"{task['id']}: {error}")
                time.sleep(PATIENCE)

    def _release(self, task: dict[str, Any]) -> None:
        try:
            self.report("release", task)
        except (LeaseEnded, CliError) as error:
            say(f"{task['id']}: not released ({error}); its lease runs out by itself")

    def _run(self, task: dict[str, Any], seconds: float) -> tuple[int, bytes, bytes]:
        environ = {
            **os.environ,
            "HOPPER_TASK_ID": task["id"],
            "HOPPER_INSTANCE_ID": task.get("instance_id") or self.instance,
        }
        # A session of its own: a signal from the terminal reaches the worker, not its command.
        child = subprocess.Popen(  # noqa: S603 - running the user's command is the purpose
            self.command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=environ,
            start_new_session=True,
        )
        try:
            return self._watch(child, task, seconds / 3)
        finally:
            if child.poll() is None:
                end(child)

    def _watch(
        self, child: subprocess.Popen[bytes], task: dict[str, Any], pause: float
    ) -> tuple[int, bytes, bytes]:
        given: bytes | None = json.dumps(spoken(task)).encode()
        next_beat = time.monotonic() + pause
        while True:
            try:
                out, err = child.communicate(given, timeout=TICK)
            except subprocess.TimeoutExpired:
                given = None
            else:
                return child.returncode, out, err
            if self.stop:
                raise Stopped
            if time.monotonic() >= next_beat:
                next_beat = time.monotonic() + pause
                try:
                    self.report("heartbeat", task)
                except Unreachable as error:
                    say(f"{task['id']}: no heartbeat: {error}")


def add_options(parser: HopperParser) -> None:
    """Make a parser the command `hopper worker`."""
    bind(parser, run, show_worked)
    parser.takes_command = True
    parser.usage = "hopper worker NAME --instance ID [options] -- COMMAND [ARG ...]"
    parser.add_argument("name")
    parser.add_argument("--instance", required=True, metavar="ID")
    _tuning(parser)


def _tuning(parser: ArgumentParser) -> None:
    add = parser.add_argument
    add("--capability", action="append", dest="capabilities", metavar="WORD")
    add("--tag", action="append", dest="tags", metavar="TAG")
    add("--lease", type=int, dest="lease_seconds", metavar="SECONDS")
    add("--poll", type=float, default=2.0, metavar="SECONDS", help="between looks for work")
    add("--max-tasks", type=int, metavar="N", help="end after so many")
    add(
        "--idle-exit",
        type=float,
        nargs="?",
        const=0.0,
        metavar="SECONDS",
        help="end when there was nothing to do for so long (default: never; bare: at once)",
    )


def run(args: Namespace, client: Client) -> dict[str, int]:
    """Claim and work until idle, stopped or for ever; return how many tasks ended how."""
    if not args.command:
        raise UsageError("Give the command after --, as in: hopper worker w1 --instance X -- make")
    if shutil.which(args.command[0]) is None:
        raise CliError(f"There is no command '{args.command[0]}'.")
    worker = Worker(
        client,
        args.name,
        args.instance,
        args.command,
        args.lease_seconds,
        args.capabilities,
        args.tags,
    )

    def ask_to_stop(number: int, frame: object) -> None:
        worker.stop = True

    before = {
        number: signal.signal(number, ask_to_stop) for number in (signal.SIGTERM, signal.SIGINT)
    }
    try:
        loop(worker, args)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    return worker.tally


def loop(worker: Worker, args: Namespace) -> None:
    """Claim and work, task after task."""
    idle_since = time.monotonic()
    while not worker.stop:
        try:
            task = worker.claim()
        except Unreachable as error:
            say(str(error))
            task = None
        if task is not None:
            worker.work(task)
            idle_since = time.monotonic()
            if args.max_tasks and sum(worker.tally.values()) >= args.max_tasks:
                return
            continue
        if args.idle_exit is not None and time.monotonic() - idle_since >= args.idle_exit:
            return
        wake = time.monotonic() + args.poll
        while not worker.stop and time.monotonic() < wake:
            time.sleep(min(TICK, args.poll))


def lease_of(task: dict[str, Any], asked: int | None) -> float:
    """Return for how many seconds the lease was given."""
    until = (task.get("lease") or {}).get("expires_at")
    if not until:
        return float(asked or 300)
    left = datetime.fromisoformat(until) - datetime.now(UTC)
    return max(left.total_seconds(), 1.0)


def result_of(out: bytes) -> Any:
    """Return a command's output as a result: its JSON, or the text under `output`."""
    text = readable(out[-RESULT_LIMIT:])
    if len(out) > RESULT_LIMIT:
        return {"output": text, "truncated": True}
    try:
        return json.loads(text)
    except ValueError:
        return {"output": text}


def ending(code: int) -> str:
    """Return how a command ended, in words; a negative code is the signal that killed it."""
    return f"exit code {code}" if code >= 0 else f"killed by signal {-code}"


def readable(data: bytes) -> str:
    """Return output as text that the server takes: no NUL, no broken characters."""
    return data.decode(errors="replace").replace("\x00", "")


def end(child: subprocess.Popen[bytes]) -> None:
    """End a command and what it started."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(child.pid, number)
            child.wait(GRACE)
        except ProcessLookupError:
            return
        except subprocess.TimeoutExpired:
            continue
        else:
            return


def say(text: str) -> None:
    """Write a line of progress: stderr, because stdout is for the sum at the end."""
    sys.stderr.write(text + "\n")
    sys.stderr.flush()


def show_worked(data: dict[str, Any], args: Any, screen: Screen) -> None:
    """Sum up what a worker did."""
    screen.line(", ".join(f"{number} {word}" for word, number in data.items()))
