"""`manage.py hopper_archive`: move old families of ended tasks to files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import CommandError

from delegation.archive.batches import archive_step
from delegation.archive.retention import Retention, families_after
from hopper import database
from hopper.cli.arguments import flag, one_of, option
from hopper.commands import JSON, OperatorCommand, Progress
from hopper.counts import counted
from instances.minutes import count_events
from instances.models import ArchivedTask, ArchiveFile


class Command(OperatorCommand):
    help = (
        "Move ended tasks that are older than the setting retention_days of their instance to "
        "files in HOPPER_ARCHIVE_DIR, with all that belongs to them. The sweep does it too. A "
        "family of tasks goes whole or not at all."
    )
    examples = """\
  hopper archive --preview              how many families would go
  hopper archive                        move them
  hopper archive --list                 the files so far
  hopper archive --task t-0123          the lines of one archived task
  hopper check --archive archive/*.jsonl"""

    arguments = (
        one_of(
            flag("--preview", help="write nothing, count the families"),
            flag("--list", help="list the files of the archive"),
            option("--task", metavar="ID", help="print the lines of an archived task"),
        ),
        JSON,
    )

    def handle(self, *args: Any, **options: Any) -> None:
        if options["task"]:
            self._print_task(options["task"])
        elif options["list"]:
            self._show(list(ArchiveFile.objects.order_by("pk")))
        elif options["preview"]:
            self._preview()
        else:
            self._show(self._archive(_folder()))

    def _archive(self, folder: Path) -> list[ArchiveFile]:
        """Archive batch after batch until nothing is old; return the files."""
        progress, made, after, going = Progress(self, "tasks archived"), [], "", True
        while count_events():
            pass
        retention = Retention(database.now())
        while going:
            try:
                step = archive_step(folder, retention, after)
            except OSError as error:
                raise CommandError(f"{folder} cannot be written: {error.strerror}.") from error
            if step is None:
                raise CommandError("Another process archives now: try again later.")
            made += [step.file] if step.file else []
            progress(sum(one.tasks for one in made))
            after, going = step.after, bool(step.after)
        return made

    def _preview(self) -> None:
        progress, number, after = Progress(self, "families would go"), 0, ""
        retention = Retention(database.now())
        while roots := families_after(after) if retention.before else []:
            number, after = number + len(retention.old_families(roots)), roots[-1]
            progress(number)
        words = f"{number:,} families of ended tasks would be archived."
        if not retention.before:
            words = "No instance has the setting retention_days: nothing is archived."
        self.answer({"families": number, "set": bool(retention.before)}, [words])

    def _print_task(self, task_id: str) -> None:
        found = ArchivedTask.objects.filter(pk=task_id).select_related("file").first()
        if found is None:
            raise CommandError(f"The archive has no task {task_id}.")
        path = _folder() / found.file.name
        try:
            with path.open(encoding="utf-8") as file:
                lines = [line for line in file if _belongs(line, task_id)]
        except OSError as error:
            raise CommandError(f"{path} cannot be read: {error.strerror}.") from error
        self.say("".join(lines).rstrip("\n"))

    def _show(self, files: list[ArchiveFile]) -> None:
        tasks, events = sum(one.tasks for one in files), sum(one.events for one in files)
        listed = [{"file": one.name, "at": one.at.isoformat(), "tasks": one.tasks} for one in files]
        lines = [
            f"{one.name}  {counted(one.tasks, 'task')}, {counted(one.events, 'event')}"
            for one in files
        ]
        total = (
            f"{counted(tasks, 'task')} and {counted(events, 'event')} "
            f"in {counted(len(files), 'file')}."
        )
        self.answer({"tasks": tasks, "events": events, "files": listed}, [*lines, total])


def _belongs(line: str, task_id: str) -> bool:
    """Return whether a line is the task's row, or a row of the task."""
    row = json.loads(line)["row"]
    return task_id in (row["id"], row.get("task_id"), row.get("depends_on_id"))


def _folder() -> Path:
    """Return the folder of the archive. Raises CommandError where none is set."""
    folder: Path | None = settings.HOPPER_ARCHIVE_DIR
    if folder is None:
        raise CommandError("Name the folder of the archive: HOPPER_ARCHIVE_DIR=/path.")
    return folder
