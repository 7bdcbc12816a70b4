"""`manage.py hopper_backup`: copy the whole database to one file while Hopper works."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from hopper.backup import back_up
from hopper.cli.arguments import flag, option
from hopper.commands import JSON, OperatorCommand


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

    arguments = (
        option("file", type=Path, metavar="FILE", help="the new file"),
        flag("--replace", help="overwrite FILE"),
        JSON,
    )

    def handle(self, *args: Any, **options: Any) -> None:
        began = time.monotonic()
        files = back_up(options["file"], replace=options["replace"])
        size, seconds = files[0].stat().st_size, round(time.monotonic() - began, 3)
        words = f"Backed up to {files[0]} ({size:,} bytes, {seconds:.1f} s)."
        keys = (
            f"The key of the site is in {key}; keep it secret and with the backup."
            for key in files[1:]
        )
        answer = {"files": list(map(str, files)), "bytes": size, "seconds": seconds}
        self.answer(answer, [words, *keys])
