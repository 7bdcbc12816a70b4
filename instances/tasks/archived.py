"""Tasks that are gone from the database: unknown ones, and those that the archive has."""

from __future__ import annotations

from collections.abc import Collection

from django.db.models import QuerySet

from hopper.errors import Archived, NotFound
from instances.choices import TaskStatus
from instances.models import ArchivedTask


def no_task(task_id: str, archived: QuerySet[ArchivedTask] | None = None) -> NotFound:
    """Return the error that a task does not exist: Archived where the archive has it.

    `archived` holds the tasks of the archive that the caller may know of; None means all.
    """
    known = ArchivedTask.objects.all() if archived is None else archived
    found = known.filter(pk=task_id).select_related("file").first()
    if found is None:
        return NotFound(f"There is no task {task_id}.")
    file = found.file
    return Archived(
        f"Task {task_id} ended {found.status} and was archived at {file.at:%Y-%m-%d %H:%M} UTC: "
        f"it is in the file {file.name} of the archive (`hopper archive --task {task_id}`).",
        file=file.name,
        archived_at=file.at.isoformat(),
    )


def archived_done(task_ids: Collection[str]) -> set[str]:
    """Return those of the tasks that are done and in the archive: predecessors that are met."""
    done = ArchivedTask.objects.filter(pk__in=task_ids, status=TaskStatus.DONE)
    return set(done.values_list("pk", flat=True))
