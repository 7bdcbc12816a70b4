"""`manage.py hopper_export`: write all instances and tasks as lines of JSON."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import IO, Any

from django.core.management.base import CommandError

from delegation.transfer.exporting import export_lines
from hopper.backup import written_whole
from hopper.cli.arguments import flag, option
from hopper.commands import OperatorCommand, Progress
from hopper.counts import counted
from hopper.database import snapshot


class Command(OperatorCommand):
    reads_configuration = False
    help = (
        "Write all instances and tasks to a file, one JSON object a line, as they are at one "
        "moment. Leases, offers, questions, comments and history stay behind: a backup has them."
    )
    examples = """\
  hopper export hopper.jsonl
  hopper export - | gzip > hopper.jsonl.gz
  hopper import hopper.jsonl                 into another database"""

    arguments = (
        option("file", metavar="FILE", help="the new file; - for standard output"),
        flag("--replace", help="overwrite FILE"),
        flag("--json", help="print the counts as JSON"),
    )

    def handle(self, *args: Any, **options: Any) -> None:
        if options["file"] == "-":
            self._write(sys.stdout.buffer)
            return
        path = Path(options["file"])
        if path.exists() and not options["replace"]:
            raise CommandError(f"{path} exists: name another file, or give --replace.")
        with written_whole(path) as draft, draft.open("wb") as file:
            lines = self._write(file)
        words = f"Wrote {counted(lines, 'line')} of instances and tasks to {path}."
        self.answer({"file": str(path), "lines": lines}, [words])

    def _write(self, file: IO[bytes]) -> int:
        """Write all lines and return the number of those after the head."""
        progress, number = Progress(self, "lines written"), -1
        with snapshot():
            for line in export_lines():
                file.write(line)
                number += 1
                progress(number)
        return number
