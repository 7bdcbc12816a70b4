"""`manage.py hopper_import`: read instances and tasks from lines of JSON, all of them or none."""

from __future__ import annotations

import shutil
import sys
import tempfile
from contextlib import closing
from typing import IO, Any

from django.core.management.base import CommandError

from delegation.transfer.importing import import_lines
from delegation.transfer.lines import BadLines
from hopper.actors import Actor
from hopper.cli.arguments import flag, option, user_name
from hopper.commands import OperatorCommand, Progress
from hopper.counts import counted


class Command(OperatorCommand):
    help = (
        "Read instances and tasks from a file that `hopper export` wrote, all of them or none. A "
        "second import of the same file changes nothing. Open tasks begin anew."
    )
    examples = """\
  hopper import hopper.jsonl
  gunzip < hopper.jsonl.gz | hopper import -
  hopper import hopper.jsonl --check         only say what is wrong"""

    arguments = (
        option("file", metavar="FILE", help="- for standard input"),
        flag("--check", help="write nothing"),
        flag("--json", help="print the counts as JSON"),
    )

    def handle(self, *args: Any, **options: Any) -> None:
        actor = Actor(user_name(), {"*": "admin"})
        progress = Progress(self, "lines read")
        try:
            with closing(_opened(options["file"])) as file:
                counts = import_lines(
                    file, actor=actor, progress=progress, keep=not options["check"]
                )
        except OSError as error:
            raise CommandError(f"{options['file']} cannot be read: {error.strerror}.") from error
        except BadLines as error:
            raise CommandError(f"{options['file']}: nothing was imported.\n{error}") from error
        verb = "Would import" if options["check"] else "Imported"
        new, known = (
            f"{counted(counts[f'instances{part}'], 'instance')}"
            f" and {counted(counts[f'tasks{part}'], 'task')}"
            for part in ("", "_present")
        )
        words = f"{verb} {new}; there already: {known}."
        self.answer({"written": not options["check"], **counts}, [words])


def _opened(name: str) -> IO[bytes]:
    """Return the file, open for reading more than once."""
    if name != "-":
        return open(name, "rb")
    copy = tempfile.TemporaryFile()  # noqa: SIM115 - the caller closes it
    shutil.copyfileobj(sys.stdin.buffer, copy)
    return copy
