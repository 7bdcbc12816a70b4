"""A laboratory of workers: real commands, signals, and how many processes are left."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

LEASE = 30  # seconds: the shortest there is
PATIENCE = 60.0

# What a task's title names. `finish CODE` notes the exit code, then exits with it, undisturbed.
KINDS = {
    "json": "echo '{\"n\": 1}'; finish 0",
    "nan": "echo NaN; finish 0",
    "binary": "head -c 2000000 /dev/urandom; finish 0",
    "slow": "sleep 1.5; echo slow; finish 0",
    "leaves": "sleep 300 & echo left; finish 0",
    "daemon": "setsid sleep 300 & echo daemon; finish 0",
    "stubborn": "trap '' TERM; sleep 1; finish 0",
    "saves": "trap 'echo saved; finish 0' TERM; sleep 1 & wait; finish 0",
    "stops": "trap 'finish 5' TERM; sleep 1 & wait; finish 0",
    "fails": "echo no >&2; finish 3",
}
RUN = r"""
finish() { trap '' TERM HUP INT QUIT; echo "$HOPPER_TASK_ID $1" >>"$LAB/journal"; exit "$1"; }
kind=$(sed -n 's/.*"title": "\([a-z]*\)".*/\1/p')
. "$LAB/$kind"
"""
# Seconds are shorter than in life, so that a round is.
WORKER = """
import sys
from hopper.cli.worker import child, guard
from hopper.cli.main import main
child.GRACE = 2.0
sys.exit(main())
"""
SIGNALS: tuple[tuple[int, ...], ...] = (
    (),
    (signal.SIGTERM,),
    (signal.SIGINT,),
    (signal.SIGHUP,),
    (signal.SIGQUIT,),
    (signal.SIGTERM, signal.SIGTERM),
    (signal.SIGKILL,),
)


def _hear_signals() -> None:
    """Ignore no signal: a run in the background, or under nohup, ignores some for its children."""
    for number in (signal.SIGHUP, signal.SIGINT, signal.SIGQUIT):
        signal.signal(number, signal.SIG_DFL)


@dataclass
class Lab:
    """A folder with the commands and their journal; `environ` leads workers to their store."""

    folder: Path
    environ: dict[str, str]
    made: dict[str, str] = field(default_factory=dict)
    """The kind of each task, by id."""

    def __post_init__(self) -> None:
        for name in ("journal", "log"):
            (self.folder / name).touch()
        for kind, script in KINDS.items():
            (self.folder / kind).write_text(script)
        self.run = self.folder / "run"
        self.run.write_text(RUN)

    def start(self, *options: str) -> subprocess.Popen[bytes]:
        """Start a worker."""
        line = ["worker", "w", "--instance", "run", "--lease", str(LEASE), "--poll", "0.2"]
        with (self.folder / "log").open("ab") as log:
            return subprocess.Popen(
                [sys.executable, "-c", WORKER, *line, *options, "--", "sh", str(self.run)],
                env={**self.environ, "LAB": str(self.folder)},
                cwd=self.folder,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                preexec_fn=_hear_signals,
            )

    def disturb(self, worker: subprocess.Popen[bytes], signals: tuple[int, ...]) -> None:
        """Send signals to a worker, moments apart, and wait for its end."""
        for number in signals:
            worker.send_signal(number)
            time.sleep(random.uniform(0, 0.3))
        assert until(lambda: worker.poll() is not None), (signals, self.log()[-4_000:])

    def codes(self) -> dict[str, list[int]]:
        """Return the exit codes that commands noted, by task."""
        found: dict[str, list[int]] = defaultdict(list)
        for line in (self.folder / "journal").read_text().splitlines():
            task_id, code = line.split()
            found[task_id].append(int(code))
        return found

    def waiting(self) -> int:
        """Return how many tasks have no exit code yet."""
        return len(self.made.keys() - self.codes().keys())

    def processes(self) -> list[str]:
        """Return the living processes of this laboratory: workers, guards, commands, daemons."""
        mark = f"LAB={self.folder}".encode()
        found = []
        for place in Path("/proc").glob("[0-9]*"):
            try:
                if mark in (place / "environ").read_bytes().split(b"\0"):
                    words = (place / "cmdline").read_bytes().split(b"\0")
                    found.append(f"{place.name} {b' '.join(words).decode(errors='replace')}")
            except OSError:
                continue
        return found

    def close(self) -> None:
        """Kill what is left, after a test that failed."""
        for line in self.processes():
            with suppress(ProcessLookupError):
                os.kill(int(line.split()[0]), signal.SIGKILL)

    def log(self) -> str:
        """Return what the workers said."""
        return (self.folder / "log").read_text(errors="replace")


def until(true: Callable[[], bool], seconds: float = PATIENCE) -> bool:
    """Return whether something became true within the time."""
    end = time.monotonic() + seconds
    while not true():
        if time.monotonic() > end:
            return False
        time.sleep(0.05)
    return True


def clean_environ() -> dict[str, str]:
    """Return an environment that knows nothing of Hopper."""
    strange = ("HOPPER_", "DJANGO_", "COV_")
    return {key: value for key, value in os.environ.items() if not key.startswith(strange)}
