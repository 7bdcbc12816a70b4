"""Archiving: a batch of old families goes to one file, which is on the disk before they go.

A file has the ending `.part` until the removal is committed. The next batch settles a file that a
crash left: the file gets its name if its batch was committed, and is removed if not.
"""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

from django.conf import settings
from django.db import transaction
from django.db.models import Count, Max

from delegation.archive.retention import Retention, families_after
from delegation.archive.rows import remove_rows, write_rows
from hopper import database
from hopper.backup import flush
from instances.models import ArchivedTask, ArchiveFile, Event, SweepRecord, Task
from instances.tasks.changes import lock_families

TASKS_AT_ONCE = 500
"""A batch ends with the family that reaches this number of tasks."""

PAUSE = timedelta(hours=1)
"""How long the sweep leaves the archive alone after it has looked at all tasks."""

SECONDS = 2.0
"""After so long a sweep begins no further batch."""

_PART = ".part"
_ARCHIVE_KEY = 0x41726368
"""The advisory lock of the one process that archives."""


@dataclass(frozen=True)
class Step:
    """One step through the families: the new file, if any, and the last family; "" at the end."""

    file: ArchiveFile | None
    after: str


def archive_due(limit: int) -> int:
    """Archive about `limit` tasks if it is time; return how many. A duty of the sweep.

    Without HOPPER_ARCHIVE_DIR nothing is archived. The place is stored: the next sweep goes on.
    """
    folder, now = settings.HOPPER_ARCHIVE_DIR, database.now()
    after, ended_at = SweepRecord.archive_place()
    if folder is None or (not after and ended_at is not None and now - ended_at < PAUSE):
        return 0
    done, until = 0, time.monotonic() + SECONDS
    retention = Retention(now)
    going = bool(retention.before)
    while going and done < limit and time.monotonic() < until:
        step = archive_step(folder, retention, after, most=min(limit - done, TASKS_AT_ONCE))
        if step is None:
            return done
        done += step.file.tasks if step.file else 0
        after = step.after
        going = bool(after)
    SweepRecord.note_archived(*((after, ended_at) if going else ("", now)), now)
    return done


def archive_step(
    folder: Path, retention: Retention, after: str, *, most: int = TASKS_AT_ONCE
) -> Step | None:
    """Move old families among the next ones after a root into one new file of `folder`.

    Returns None where another process archives. A family with an event that is not counted yet
    stays. Raises OSError for a folder that cannot be written; nothing is removed then.
    """
    roots = families_after(after)
    old = retention.old_families(roots)
    if not old:
        return Step(None, roots[-1] if roots else "")
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    with transaction.atomic():
        if not database.try_lock(_ARCHIVE_KEY):
            return None
        _settle(folder)
        # A family that was reopened meanwhile, or has a new dependant, is young now.
        lock_families(old)
        chosen = _first_families(retention.old_families(old), most)
        last = chosen[-1] if chosen and len(chosen) < len(old) else roots[-1]
        file = _move(folder, chosen)
    if file is not None:
        _name(folder, file.name)
    return Step(file, last)


def _first_families(roots: Sequence[str], most: int) -> list[str]:
    """Return the first families that have so many tasks together, at least one."""
    sizes = Task.objects.filter(root__in=roots).order_by("root").values_list("root")
    chosen, number = [], 0
    for root, size in sizes.annotate(Count("pk")):
        chosen.append(root)
        number += size
        if number >= most:
            break
    return chosen


def _move(folder: Path, roots: Sequence[str]) -> ArchiveFile | None:
    """Write locked families to a new file, whole on the disk; remove them from the database."""
    columns = ("id", "status", "instance_id", "origin_id", "created_by_id")
    tasks = list(Task.objects.filter(root__in=roots).order_by("pk").values(*columns))
    ids = [task["id"] for task in tasks]
    in_feed: Any = Event.objects.in_feed().order_by().filter(task__in=ids)
    stamped = in_feed.aggregate(events=Count("pk"), last=Max("number"))
    events, through = Event.objects.filter(task__in=ids).count(), stamped["last"] or 0
    if not ids or stamped["events"] < events or through > SweepRecord.counted_up_to():
        return None
    now = database.now()
    file = ArchiveFile(
        name=f"{now:%Y%m%dT%H%M%S.%f}.jsonl", at=now, tasks=len(ids), events=events, through=through
    )
    _write(folder / f"{file.name}{_PART}", ids)
    remove_rows(ids)
    file.save()
    ArchivedTask.objects.bulk_create(ArchivedTask(file=file, **task) for task in tasks)
    return file


def _write(path: Path, ids: Sequence[str]) -> None:
    """Write the rows of tasks to a new file, which is on the disk afterwards."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with open(descriptor, "w", encoding="utf-8") as file:
        write_rows(file, ids)
    flush(path)
    flush(path.parent)


def _settle(folder: Path) -> None:
    """Settle the files that a crash left; the caller holds the lock, so no other process writes."""
    for path in folder.glob(f"*{_PART}"):
        name = path.name.removesuffix(_PART)
        if ArchiveFile.objects.filter(name=name).exists():
            _name(folder, name)
        else:
            path.unlink()


def _name(folder: Path, name: str) -> None:
    """Give a file its name, unless the next batch of another process did."""
    with suppress(FileNotFoundError):
        (folder / f"{name}{_PART}").rename(folder / name)
    flush(folder)
