"""`manage.py hopper_sweep`: do the due work of time and of crashes, once or in a loop (R21)."""

from __future__ import annotations

import logging
import signal
import time
from dataclasses import asdict
from threading import Thread
from typing import Any

from django.core.management.base import CommandError
from django.db import close_old_connections, connection

from delegation.sweep import INTERVAL_SECONDS, sweep
from hopper.cli.arguments import flag, option
from hopper.commands import JSON, OperatorCommand
from hopper.database import is_outage
from instances.api.shown import shown_events
from instances.webhooks.courier import Courier

logger = logging.getLogger(__name__)

_TICK = 0.2  # seconds between looks at the stop signal


class Command(OperatorCommand):
    help = (
        "Do what is due: expired leases and offers, tasks to be placed, instances to be settled, "
        "events to be sent to webhooks. "
        "Any number of sweepers may run at once."
    )
    examples = """\
  hopper sweep                   one sweep
  hopper sweep --loop            every 10 s until SIGTERM or Ctrl-C
  hopper sweep --loop --json     one JSON object a line and sweep"""

    stop = False

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.failing: set[str] = set()

    arguments = (
        flag("--loop", help="until SIGTERM or SIGINT"),
        option(
            "--interval",
            type=float,
            default=float(INTERVAL_SECONDS),
            metavar="SECONDS",
            help=f"between two sweeps (default {INTERVAL_SECONDS})",
        ),
        JSON,
    )

    def handle(self, *args: Any, **options: Any) -> None:
        if options["interval"] <= 0:
            raise CommandError("--interval: more than 0 seconds.", returncode=2)
        if options["loop"]:
            self._loop(options["interval"])
        else:
            done = asdict(sweep()) | {"webhooks_sent": Courier(shown_events).once()}
            self.answer(done, [in_words(done)])

    def _loop(self, interval: float) -> None:
        def ask_to_stop(number: int, frame: object) -> None:
            self.stop = True

        signals = (signal.SIGTERM, signal.SIGINT)
        before = {number: signal.signal(number, ask_to_stop) for number in signals}
        try:
            # Beside the sweep: a slow receiver holds up no duty.
            courier = Thread(target=Courier(shown_events).loop, args=[lambda: self.stop])
            courier.start()
            if not self.as_json:
                self.say(f"sweeping every {interval:g} s; SIGTERM or Ctrl-C ends it")
            while not self.stop:
                self._sweep_once()
                wake = time.monotonic() + interval
                while not self.stop and time.monotonic() < wake:
                    time.sleep(min(_TICK, interval))
            courier.join()
            if not self.as_json:
                self.say("ended")
        finally:
            self.stop = True
            for number, handler in before.items():
                signal.signal(number, handler)

    def _sweep_once(self) -> None:
        """Sweep once. After a failure of the database, the next round uses a new connection."""
        close_old_connections()
        try:
            swept = sweep(failing=self.failing)
        except Exception as error:
            # Whatever it was, others wait for the next round.
            outage, extra = is_outage(error), {"event": "sweep_failed"}
            logger.warning("sweep failed: %s", error, extra=extra, exc_info=not outage)
            connection.close()
            return
        done = asdict(swept)
        self.answer(done, [in_words(done)] if swept.total() else [], indent=None)


def in_words(counts: dict[str, int]) -> str:
    """Return the counts of a sweep as one line."""
    done = {name.replace("_", " "): number for name, number in counts.items() if number}
    return ", ".join(f"{name}: {number}" for name, number in done.items()) or "nothing was due"
