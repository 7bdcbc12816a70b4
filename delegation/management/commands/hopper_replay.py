"""`manage.py hopper_replay`: decide again on past situations and show the differences."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

from django.core.management.base import CommandError, CommandParser

from hopper.commands import OperatorCommand
from hopper.config.document import BrokenConfig
from hopper.config.files import CONFIGURATION
from scopes.replay import Difference, Replay, last_decisions, replay


class Command(OperatorCommand):
    reads_configuration = False
    help = (
        "Make the last decisions again from their records, under the configuration in force or a "
        "candidate for it, and print those that would differ. Nothing is written."
    )
    examples = """\
  hopper route replay                               the last 1000, as configured now
  hopper route replay --candidate rules-new.yaml    what a changed file would have changed
  hopper route replay --candidate ./config-new      a whole folder in place of the present one
  hopper route replay --last 50 --json              one JSON object"""

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--last", type=int, default=1000, metavar="N", help="how many (default 1000)"
        )
        parser.add_argument("--task", metavar="ID", help="only this task's")
        parser.add_argument(
            "--candidate", metavar="PATH", help="a file or folder to decide under instead"
        )
        parser.add_argument("--json", action="store_true", help="print JSON")

    def handle(self, *args: Any, **options: Any) -> None:
        if options["last"] < 1:
            raise CommandError("--last: at least 1.", returncode=2)
        try:
            path = options["candidate"]
            snapshot = CONFIGURATION.candidate(Path(path)) if path else CONFIGURATION.current()
        except BrokenConfig as error:
            raise CommandError(str(error)) from error
        found = replay(last_decisions(options["last"], task_id=options["task"]), snapshot)
        if options["json"]:
            self.say_json(asdict(found))
        else:
            self._tell(found)

    def _tell(self, found: Replay) -> None:
        for one in found.differences:
            self.say(in_words(one))
        old = f", {found.skipped} too old to be replayed" if found.skipped else ""
        self.say(f"{found.replayed} decisions replayed, {len(found.differences)} differ{old}")


def in_words(one: Difference) -> str:
    """Return a difference as lines: the old decision, the new one, and the reasons."""
    lines = [f"{one.task_id} at {one.instance_id}: {one.was} -> {one.now}"]
    return "\n".join([*lines, *(f"  because {reason}" for reason in one.now.reasons)])
