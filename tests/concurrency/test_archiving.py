"""Two processes archive while others make tasks that depend on the old ones."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.db.models import F

from delegation.archive.batches import archive_step
from delegation.archive.proving import audit_files
from delegation.archive.retention import Retention
from hopper import database
from instances.minutes import count_events
from instances.models import ArchivedTask, Task
from instances.tasks.creating import NewTask, create_task
from instances.tasks.status_by_hand import set_status
from tests.concurrency.crowd import crowd, together
from tests.factories import ALICE, InstanceFactory, TaskFactory
from tests.soundness import unsound

pytestmark = [pytest.mark.storm, pytest.mark.django_db(transaction=True)]


def test_each_old_task_is_archived_once_or_stays_for_the_task_that_depends_on_it(
    child_environ: dict[str, str], storm: Any, tmp_path: Path
) -> None:
    config = {"retention_days": 30, "max_queued_tasks": 10_000}
    place = InstanceFactory(scope="PROJECT", config=config)
    old = [TaskFactory(instance=place).pk for _ in range(storm(24, 400))]
    for pk in old:
        set_status(pk, status="done", actor=ALICE)
    month = timedelta(days=31)
    Task.objects.update(created_at=F("created_at") - month, finished_at=F("finished_at") - month)
    while count_events():
        pass
    _, _, made = crowd(
        child_environ,
        "tests.concurrency.test_archiving:act",
        [("archive", str(tmp_path)), ("archive", str(tmp_path)), ("depend", (place.pk, old))],
    )
    assert made == len(old)
    gone = sorted(ArchivedTask.objects.values_list("pk", flat=True))
    assert sorted([*gone, *Task.objects.filter(pk__in=old).values_list("pk", flat=True)]) == old
    assert not Task.objects.filter(ready=False).exists()
    assert audit_files(sorted(tmp_path.iterdir())) == []
    assert unsound() == []


def act(what: str, given: Any) -> int:
    """Be one process of the crowd."""
    if what == "archive":
        return archive_all(Path(given))
    place, old = given
    together()
    for pk in old:
        create_task(NewTask("next", instance_id=place, depends_on=[pk]), actor=ALICE)
    return len(old)


def archive_all(folder: Path) -> int:
    """Go through all families, a few at a time, until nothing is left."""
    together()
    retention, after, number = Retention(database.now()), "", 0
    while True:
        step = archive_step(folder, retention, after, most=2)
        if step is not None:
            number += step.file.tasks if step.file else 0
            after = step.after
            if not after:
                return number
