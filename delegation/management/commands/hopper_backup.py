"""`manage.py hopper_backup`: copy the whole database to one file while Hopper works."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from django.core.management.base import CommandError, CommandParser

from hopper.backup import back_up
from hopper.commands import OperatorCommand
from hopper.database.engine import BackupError


class Command(OperatorCommand):
    reads_configuration = False
    help = (
        "Copy the whole database to one file, as it is at one moment; Hopper goes on meanwhile. "
        "PostgreSQL: `pg_dump` of the server's version or newer has to be installed."
    )
    examples = """\
  hopper backup hopper-2026-11-30.backup
  hopper backup --replace nightly.backup    over the file of yesterday
  hopper restore nightly.backup             the way back"""

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("file", type=Path, metavar="FILE", help="the new file")
        parser.add_argument("--replace", action="store_true", help="overwrite FILE")
        parser.add_argument("--json", action="store_true", help="print JSON")

    def handle(self, *args: Any, **options: Any) -> None:
        began = time.monotonic()
        try:
            files = back_up(options["file"], replace=options["replace"])
        except BackupError as error:
            raise CommandError(str(error)) from error
        size, seconds = files[0].stat().st_size, round(time.monotonic() - began, 3)
        if options["json"]:
            self.say_json({"files": list(map(str, files)), "bytes": size, "seconds": seconds})
            return
        self.say(f"Backed up to {files[0]} ({size:,} bytes, {seconds:.1f} s).")
        for key in files[1:]:
            self.say(f"The key of the site is in {key}; keep it secret and with the backup.")
