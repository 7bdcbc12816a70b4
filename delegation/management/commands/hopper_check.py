"""`manage.py hopper_check`: prove the invariants on the database; exit 0 sound, 1 findings."""

from __future__ import annotations

import logging
import re
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from django.core.management.base import CommandError
from django.db import DatabaseError
from django.utils.dateparse import parse_datetime

from delegation.archive.proving import ASKED, BadArchive, audit_files
from delegation.audit import INVARIANTS, Finding, Invariant, audit
from delegation.audit.extent import last_sound, remember
from delegation.audit.repair import repair
from hopper import database
from hopper.cli.arguments import flag, option
from hopper.commands import OperatorCommand
from hopper.counts import counted

logger = logging.getLogger(__name__)

_AGE = re.compile(r"(\d{1,6})([smhd])")
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400}


class Command(OperatorCommand):
    reads_configuration = False
    help = "Prove the invariants on the database. Exit 0: sound, 1: something is broken."
    examples = """\
  hopper check                   every invariant, safe on a live system
  hopper check I3 I4             only these two
  hopper check --since last      only what changed since all was last found sound
  hopper check --since 2h        only what changed in the last two hours
  hopper check --json            for a monitor: {"sound": true, ...}
  hopper check --archive archive/*.jsonl
  hopper check --fix             rebuild tree numbers and lease counters, then check again"""

    arguments = (
        option("numbers", nargs="*", metavar="INVARIANT", help="such as I3"),
        flag("--json", help="print one JSON object"),
        option(
            "--since",
            metavar="WHEN",
            help="look only at what changed: since `last` (the last check that found all sound; "
            "everything if there was none), an age such as 90s, 15m, 2h, 1d, or a time",
        ),
        option(
            "--archive",
            nargs="+",
            type=Path,
            metavar="FILE",
            help="prove them on files of the archive instead, each file by itself",
        ),
        flag("--fix", help="first derive again what is derived (tree numbers, lease counters)"),
    )

    def handle(self, *args: Any, **options: Any) -> None:
        asked = _named(options["numbers"])
        if options["archive"]:
            self._check_files([one for one in asked if one in ASKED], options["archive"])
            return
        repairs = self._repair() if options["fix"] else None
        since = _moment(options["since"])
        began_at, began = database.now(), time.monotonic()
        findings = audit((invariant.number for invariant in asked), since=since)
        seconds = round(time.monotonic() - began, 3)
        if len(asked) == len(INVARIANTS):
            self._remember(findings, began_at=began_at, seconds=seconds, since=since)
        more: dict[str, Any] = {} if repairs is None else {"fixed": repairs}
        more["since"] = since.isoformat() if since else None
        self._conclude(asked, findings, seconds, since, more)

    def _repair(self) -> list[str]:
        """Repair, and say each repair when it is done."""
        repairs = []
        for done in repair():
            repairs.append(done)
            if not self.as_json:
                self.say(f"fixed: {done}")
        if not repairs and not self.as_json:
            self.say("fixed: nothing, tree numbers and counters were right")
        return repairs

    def _check_files(self, asked: list[Invariant], files: list[Path]) -> None:
        began = time.monotonic()
        try:
            findings = audit_files(files, [one.number for one in asked])
        except BadArchive as error:
            raise CommandError(str(error)) from error
        except OSError as error:
            raise CommandError(f"{error.filename} cannot be read: {error.strerror}.") from error
        self._conclude(asked, findings, round(time.monotonic() - began, 3), None, {})

    def _remember(self, findings: list[Finding], **when: Any) -> None:
        """Store the result for the dashboard. A read-only database can be checked as well."""
        try:
            remember(findings, **when)
        except DatabaseError as error:
            logger.warning("check not remembered: %s", error, extra={"event": "check_unkept"})

    def _conclude(
        self,
        asked: list[Invariant],
        findings: list[Finding],
        seconds: float,
        since: datetime | None,
        more: Mapping[str, Any],
    ) -> None:
        """Show the result, as JSON with `more`. Exits with 1 if there are findings."""
        answer = _as_json(asked, findings, seconds)
        self.answer({**answer, **more}, _in_words(asked, findings, seconds, since))
        if findings:
            sys.exit(1)


def _moment(text: str | None) -> datetime | None:
    """Return the time of --since; None means all rows."""
    if text is None:
        return None
    if text == "last":
        return last_sound()
    if age := _AGE.fullmatch(text):
        return database.now() - timedelta(seconds=int(age[1]) * _SECONDS[age[2]])
    try:
        moment = parse_datetime(text)
    except ValueError:
        moment = None
    if moment is None:
        raise CommandError(
            f"--since {text}: neither `last`, nor an age such as 15m, nor a time such as "
            "2026-01-31T12:00:00Z.",
            returncode=2,
        )
    moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return moment.astimezone(UTC)


def _named(numbers: list[str]) -> list[Invariant]:
    """Return the given invariants, or all if none is given, ordered by number."""
    wanted = {number.upper() for number in numbers}
    known = {invariant.number for invariant in INVARIANTS}
    if wanted - known:
        unknown = ", ".join(sorted(wanted - known))
        every = ", ".join(invariant.number for invariant in INVARIANTS)
        raise CommandError(f"No such invariant: {unknown}. Known: {every}.", returncode=2)
    return [one for one in INVARIANTS if not wanted or one.number in wanted]


def _as_json(asked: list[Invariant], findings: list[Finding], seconds: float) -> dict[str, Any]:
    broken = {found.invariant for found in findings}
    return {
        "sound": not findings,
        "invariants": [
            {"number": one.number, "promise": one.promise, "sound": one.number not in broken}
            for one in asked
        ],
        "findings": [asdict(found) for found in findings],
        "elapsed_seconds": seconds,
    }


def _in_words(
    asked: list[Invariant], findings: list[Finding], seconds: float, since: datetime | None
) -> Iterator[str]:
    for invariant in asked:
        broken = [found for found in findings if found.invariant == invariant.number]
        mark = "✗" if broken else "✓"
        yield f"{mark} {invariant.number:<4} {invariant.promise}"
        yield from (f"       {found.object}: {found.detail}" for found in broken)
    verdict = counted(len(findings), "finding") if findings else "sound"
    extent = f", what changed since {since:%Y-%m-%d %H:%M:%S} UTC" if since else ""
    yield f"{verdict} ({len(asked)} invariants, {seconds:.2f} s{extent})"
