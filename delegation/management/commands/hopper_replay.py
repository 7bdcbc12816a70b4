"""`manage.py hopper_replay`: decide again on past situations and show the differences."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

from django.core.management.base import CommandError

from hopper.cli.arguments import option
from hopper.commands import JSON, OperatorCommand
from hopper.config.files import CONFIGURATION
from hopper.counts import counted
from scopes.replay import Difference, last_decisions, replay


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

    arguments = (
        option("--last", type=int, default=1000, metavar="N", help="how many (default 1000)"),
        option("--task", metavar="ID", help="only this task's"),
        option("--candidate", metavar="PATH", help="a file or folder to decide under instead"),
        JSON,
    )

    def handle(self, *args: Any, **options: Any) -> None:
        if options["last"] < 1:
            raise CommandError("--last: at least 1.", returncode=2)
        path = options["candidate"]
        snapshot = CONFIGURATION.candidate(Path(path)) if path else CONFIGURATION.current()
        found = replay(last_decisions(options["last"], task_id=options["task"]), snapshot)
        old = f", {found.skipped} too old to be replayed" if found.skipped else ""
        number = counted(found.replayed, "decision")
        total = f"{number} replayed, {len(found.differences)} different{old}"
        self.answer(asdict(found), [*map(in_words, found.differences), total])


def in_words(one: Difference) -> str:
    """Return a difference as lines: the old decision, the new one, and the reasons."""
    lines = [f"{one.task_id} at {one.instance_id}: {one.was} -> {one.now}"]
    return "\n".join([*lines, *(f"  because {reason}" for reason in one.now.reasons)])
