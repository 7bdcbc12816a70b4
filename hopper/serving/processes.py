"""The processes of a server: starts them, starts again one that died, and stops all in order."""

from __future__ import annotations

import logging
import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from multiprocessing.connection import wait
from types import FrameType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from multiprocessing.context import ForkProcess

logger = logging.getLogger(__name__)

DRAIN_SECONDS = 30
"""The time that a process has to end after SIGTERM, before it is killed."""
LEAST_LIFE = 1.0
"""Seconds between two starts of the same process, at least."""
_LOOK_SECONDS = 0.2
_SIGNALS = (signal.SIGTERM, signal.SIGINT)
# Quick, and the application is in memory already. The parent has no other thread.
_fork = multiprocessing.get_context("fork")


@dataclass
class Role:
    """One process of the server: its name, and its work, a function that returns after SIGTERM."""

    name: str
    work: Callable[[], None]
    process: ForkProcess | None = None
    started: float = 0.0

    def start(self) -> None:
        """Start the process."""
        self.process = _fork.Process(target=_begin, args=(self, os.getpid()), name=self.name)
        self.process.start()
        self.started = time.monotonic()
        logger.info("%s started (process %s)", self.name, self.process.pid)

    def keep(self) -> None:
        """Start the process again if it has ended."""
        if self.process is None or self.process.is_alive():
            return
        if time.monotonic() - self.started >= LEAST_LIFE:
            code = self.process.exitcode
            logger.error("%s ended (exit %s) and is started again", self.name, code)
            self.start()

    def ask_to_stop(self) -> None:
        """Send SIGTERM."""
        if self.process is not None and self.process.is_alive():
            self.process.terminate()

    def end(self, until: float) -> None:
        """Wait for the end of the process, and kill it after `until` (monotonic)."""
        if self.process is None:
            return
        self.process.join(max(0.0, until - time.monotonic()))
        if self.process.is_alive():
            logger.error("%s did not end in time and is killed", self.name)
            self.process.kill()
            self.process.join()


class Team:
    """The processes of one server. A stop drains the first roles before it stops the last one."""

    def __init__(self, roles: Sequence[Role]) -> None:
        self._roles = list(roles)
        self._stopping = False

    def run(self) -> None:
        """Keep all processes alive until SIGTERM or SIGINT. Returns when all have ended."""
        before = {number: signal.signal(number, self._ask_to_stop) for number in _SIGNALS}
        try:
            for role in self._roles:
                role.start()
            while not self._stopping:
                wait([role.process.sentinel for role in self._roles if role.process], _LOOK_SECONDS)
                for role in self._roles:
                    if not self._stopping:
                        role.keep()
            self._stop()
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _ask_to_stop(self, number: int, frame: FrameType | None) -> None:
        self._stopping = True

    def _stop(self) -> None:
        for group in (self._roles[:-1], self._roles[-1:]):
            until = time.monotonic() + DRAIN_SECONDS
            for role in group:
                role.ask_to_stop()
            for role in group:
                role.end(until)


def _begin(role: Role, parent: int) -> None:
    """Run the role in its own process."""
    for number in _SIGNALS:
        signal.signal(number, signal.SIG_DFL)
    threading.Thread(target=_end_with, args=(parent,), daemon=True).start()
    role.work()


def _end_with(parent: int) -> None:
    """End this process when its parent is gone, for example after a SIGKILL."""
    while os.getppid() == parent:
        time.sleep(1)
    os.kill(os.getpid(), signal.SIGTERM)
