"""`manage.py hopper_check`: prove the invariants on the database; exit 0 sound, 1 findings."""

from __future__ import annotations

import sys
import time
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from django.core.management.base import CommandError

from delegation.management.operating import OperatorCommand
from delegation.services.audit import INVARIANTS, Finding, Invariant, audit
from delegation.services.repair import repair

if TYPE_CHECKING:
    from django.core.management.base import CommandParser


class Command(OperatorCommand):
    help = "Prove the invariants on the database. Exit 0: sound, 1: something is broken."
    examples = """\
  hopper check                   every invariant, safe on a live system
  hopper check I3 I4             only these two
  hopper check --json            for a monitor: {"sound": true, ...}
  hopper check --fix             rebuild tree numbers and lease counters, then check again"""

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("numbers", nargs="*", metavar="INVARIANT", help="such as I3")
        parser.add_argument("--json", action="store_true", help="print one JSON object")
        parser.add_argument(
            "--fix",
            action="store_true",
            help="first derive again what is derived (tree numbers, lease counters)",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        asked = _named(options["numbers"])
        repairs = []
        if options["fix"]:
            for done in repair():
                repairs.append(done)
                if not options["json"]:
                    self.say(f"fixed: {done}")
            if not repairs and not options["json"]:
                self.say("fixed: nothing, tree numbers and counters were right")
        began = time.monotonic()
        findings = audit(invariant.number for invariant in asked)
        seconds = round(time.monotonic() - began, 3)
        if options["json"]:
            self.say_json(_as_json(asked, findings, seconds, repairs if options["fix"] else None))
        else:
            self._show(asked, findings, seconds)
        if findings:
            sys.exit(1)

    def _show(self, asked: list[Invariant], findings: list[Finding], seconds: float) -> None:
        for invariant in asked:
            broken = [found for found in findings if found.invariant == invariant.number]
            mark = "✗" if broken else "✓"
            self.say(f"{mark} {invariant.number:<4} {invariant.promise}")
            for found in broken:
                self.say(f"       {found.object}: {found.detail}")
        verdict = _counted(len(findings)) if findings else "sound"
        self.say(f"{verdict} ({len(asked)} invariants, {seconds:.2f} s)")


def _named(numbers: list[str]) -> list[Invariant]:
    """Return the invariants asked for, all where none was named, in the order of their numbers."""
    wanted = {number.upper() for number in numbers}
    known = {invariant.number for invariant in INVARIANTS}
    if wanted - known:
        unknown = ", ".join(sorted(wanted - known))
        every = ", ".join(sorted(known, key=_rank))
        raise CommandError(f"No such invariant: {unknown}. Known: {every}.", returncode=2)
    asked = [one for one in INVARIANTS if not wanted or one.number in wanted]
    return sorted(asked, key=lambda invariant: _rank(invariant.number))


def _rank(number: str) -> int:
    return int(number.removeprefix("I"))


def _as_json(
    asked: list[Invariant], findings: list[Finding], seconds: float, repairs: list[str] | None
) -> dict[str, Any]:
    broken = {found.invariant for found in findings}
    answer: dict[str, Any] = {
        "sound": not findings,
        "invariants": [
            {"number": one.number, "promise": one.promise, "sound": one.number not in broken}
            for one in asked
        ],
        "findings": [asdict(found) for found in findings],
        "elapsed_seconds": seconds,
    }
    return answer if repairs is None else {**answer, "fixed": repairs}


def _counted(number: int) -> str:
    return f"{number} finding" if number == 1 else f"{number} findings"
