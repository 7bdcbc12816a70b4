"""Old families of ended tasks go to files whole; what is left and what is in the files is sound."""

from __future__ import annotations

import io
import json
import os
import random
import signal
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import time_machine
from django.apps import apps
from django.core.management import CommandError, call_command
from django.db import connections
from django.utils import timezone

from delegation.archive import batches
from delegation.archive.batches import archive_step
from delegation.archive.proving import audit_files
from delegation.archive.retention import Retention
from delegation.archive.rows import OF_A_TASK, read_rows
from delegation.delegator import decompose_task
from delegation.sweep import sweep
from delegation.transfer.exporting import export_lines
from delegation.transfer.importing import import_lines
from hopper import database
from hopper.errors import Archived, Invalid
from instances import minutes
from instances.history import feed
from instances.lessons import file_lesson
from instances.models import ArchivedTask, ArchiveFile, Event, HopperInstance, Lesson, Task
from instances.tasks.changes import lock_families
from instances.tasks.creating import NewTask, create_task
from instances.tasks.ending import cancel_task
from instances.tasks.reopening import reopen_task
from instances.tasks.status_by_hand import set_status
from tests.factories import ALICE, InstanceFactory, TaskFactory
from tests.flows.rows import everything
from tests.protocol.random_life import STEPS, RandomLife
from tests.soundness import unsound

pytestmark = pytest.mark.django_db(transaction=True)

DAY = timedelta(days=1)


@pytest.fixture
def run() -> HopperInstance:
    """A run whose tasks may go after 30 days."""
    top = InstanceFactory(name="top")
    web = InstanceFactory(scope="PROJECT", parent=top, name="web")
    config = {"retention_days": 30}
    return InstanceFactory(scope="ORCHESTRATION", parent=web, name="run", config=config)


def ended(run: HopperInstance, status: str = "done", **fields: Any) -> Task:
    """Return a task that has ended."""
    return set_status(TaskFactory(instance=run, **fields).pk, status=status, actor=ALICE)


def archived(folder: Path, days: int = 31, most: int = 500) -> list[str]:
    """Archive what is old in so many days; return the tasks of the new files."""
    minutes.count_events(rounds=100)
    before = set(folder.glob("*.jsonl"))
    with time_machine.travel(timezone.now() + days * DAY):
        all_steps(folder, most)
    return tasks_in(set(folder.glob("*.jsonl")) - before)


def all_steps(folder: Path, most: int = 500) -> None:
    """Go through all families once."""
    retention, after, going = Retention(database.now()), "", True
    while going:
        step = archive_step(folder, retention, after, most=most)
        assert step is not None
        after, going = step.after, bool(step.after)


def rows_in(paths: Any) -> list[Any]:
    return [row for path in paths for row in read_rows(io.StringIO(path.read_text()))]


def tasks_in(paths: Any) -> list[str]:
    return sorted(str(row.pk) for row in rows_in(paths) if isinstance(row, Task))


@pytest.mark.usefixtures("sound")
def test_an_old_task_goes_with_all_its_rows(run: HopperInstance, tmp_path: Path) -> None:
    task = ended(run)
    assert archived(tmp_path, days=29) == []
    assert archived(tmp_path) == [task.pk]
    assert not Event.objects.filter(task=task.pk).exists()
    file = ArchiveFile.objects.get()
    assert (tmp_path / file.name).stat().st_mode & 0o777 == 0o600
    assert file.tasks == 1
    assert audit_files([tmp_path / file.name]) == []


@pytest.mark.usefixtures("sound")
def test_a_family_goes_whole_or_not_at_all(run: HopperInstance, tmp_path: Path) -> None:
    parent = TaskFactory(instance=run)
    made = decompose_task(
        parent.pk, [NewTask(title="a", key="a"), NewTask(title="b", key="b")], actor=ALICE
    )
    first, second = made.children
    cancel_task(first.pk, actor=ALICE)
    assert archived(tmp_path) == []
    set_status(second.pk, status="done", actor=ALICE)
    assert archived(tmp_path) == sorted([parent.pk, first.pk, second.pk])


@pytest.mark.usefixtures("sound")
def test_a_task_stays_as_long_as_its_dependants(run: HopperInstance, tmp_path: Path) -> None:
    before = ended(run)
    after = TaskFactory(instance=run, depends_on=[before.pk])
    assert archived(tmp_path) == []
    set_status(after.pk, status="done", actor=ALICE)
    assert archived(tmp_path) == sorted([before.pk, after.pk])


@pytest.mark.usefixtures("sound")
def test_a_batch_ends_with_the_family_that_fills_it(run: HopperInstance, tmp_path: Path) -> None:
    tasks = sorted(ended(run).pk for _ in range(5))
    assert archived(tmp_path, most=2) == tasks
    assert [file.tasks for file in ArchiveFile.objects.order_by("pk")] == [2, 2, 1]


@pytest.mark.parametrize(
    ("in_file", "own", "goes"),
    [
        (None, {}, False),
        (30, {}, True),
        (30, {"retention_days": None}, False),
        (None, {"retention_days": 30}, True),
        (30, {"retention_days": 60}, False),
    ],
)
def test_the_instance_decides_else_the_file_for_its_scope(
    tmp_path: Path, settings: Any, in_file: int | None, own: dict[str, Any], goes: bool
) -> None:
    settings.HOPPER_CONFIG_DIR = str(tmp_path)
    days = "null" if in_file is None else in_file
    text = f"PROJECT: {{queue: {{retention_days: {days}}}}}\n"
    (tmp_path / "scope_behaviors.yaml").write_text(text)
    ended(InstanceFactory(scope="PROJECT", name="web", config=own))
    assert bool(archived(tmp_path)) == goes


def test_no_position_of_the_feed_comes_twice(run: HopperInstance, tmp_path: Path) -> None:
    task = ended(run)
    last: Any = feed(Event.objects.filter(task=task.pk)).last()
    assert archived(tmp_path) == [task.pk]
    new = TaskFactory(instance=run)
    first: Any = feed(Event.objects.filter(task=new.pk)).first()
    assert first.number > last.number


def test_lessons_outlive_their_task(run: HopperInstance, tmp_path: Path) -> None:
    task = ended(run)
    file_lesson("Mind the gap", task=task, seen=HopperInstance.objects.all(), actor=ALICE)
    archived(tmp_path)
    assert Lesson.objects.get().task_id is None


def test_a_task_stays_until_its_events_are_counted(run: HopperInstance, tmp_path: Path) -> None:
    ended(run)
    with time_machine.travel(timezone.now() + 31 * DAY):
        all_steps(tmp_path)
    assert not ArchiveFile.objects.exists()


def test_an_archived_task_is_named_with_its_file(run: HopperInstance, tmp_path: Path) -> None:
    task = ended(run)
    archived(tmp_path)
    with pytest.raises(Archived, match=ArchiveFile.objects.get().name):
        reopen_task(task.pk, actor=ALICE)


@pytest.mark.usefixtures("sound")
def test_an_archived_predecessor_counts_as_done_if_it_was(
    run: HopperInstance, tmp_path: Path
) -> None:
    done, cancelled = ended(run), ended(run, "cancelled")
    archived(tmp_path)
    made = create_task(NewTask("next", instance_id=run.pk, depends_on=[done.pk]), actor=ALICE)
    assert made.task.ready
    with pytest.raises(Invalid, match=f"there is no task {cancelled.pk}"):
        create_task(NewTask("next", instance_id=run.pk, depends_on=[cancelled.pk]), actor=ALICE)


def test_a_key_of_an_archived_task_is_free(run: HopperInstance, tmp_path: Path) -> None:
    first = ended(run, unique_key="daily")
    archived(tmp_path)
    made = create_task(NewTask("again", instance_id=run.pk, unique_key="daily"), actor=ALICE)
    assert not made.existed
    assert made.task.pk != first.pk


@pytest.mark.usefixtures("sound")
def test_an_import_brings_no_archived_task_back(run: HopperInstance, tmp_path: Path) -> None:
    task = ended(run)
    ended(run, depends_on=[task.pk])
    exported = io.BytesIO(b"".join(export_lines()))
    archived(tmp_path)
    counts = import_lines(exported, actor=ALICE)
    assert (counts["tasks"], counts["tasks_present"]) == (0, 2)
    assert not Task.objects.exists()


@pytest.mark.parametrize("seed", range(3))
def test_any_life_is_sound_after_it_and_in_the_archive(tmp_path: Path, seed: int) -> None:
    die = random.Random(seed)
    life = RandomLife()
    life.plant()
    for place in HopperInstance.objects.all():
        place.config = {**place.config, "retention_days": 30}
        place.save(update_fields=["config"])
    for step in die.choices(list(STEPS), STEPS.values(), k=80):
        life.step(step, str(die.random()))
    for _ in range(Task.objects.open().count()):
        if die.random() < 0.7:
            life.step("cancel", str(die.random()))
    before = everything()
    assert archived(tmp_path, most=3)
    assert unsound() == []
    assert audit_files(sorted(tmp_path.iterdir())) == []
    assert compared(before) == compared(everything() | in_files(tmp_path))


def compared(rows: dict[Any, Any]) -> dict[Any, Any]:
    """Leave out counts and the archive's own tables, and positions, which stamping gives."""
    left_out = ("MinuteCount", "ArchiveFile", "ArchivedTask", "SweepRecord")
    return {
        key: {name: value for name, value in row.items() if name != "position"}
        for key, row in rows.items()
        if not key[0].endswith(left_out)
    }


def in_files(folder: Path) -> dict[Any, Any]:
    """Return the rows of all files of the archive as `everything` has rows."""
    found = {}
    for row in rows_in(folder.iterdir()):
        names = [field.attname for field in row._meta.concrete_fields]
        values = {name: getattr(row, name) for name in names}
        found[row._meta.label, str(row.pk)] = {"pk": row.pk, **values}
    return found


@pytest.mark.parametrize("place", ["write_rows", "remove_rows", "_name"])
def test_a_kill_loses_nothing_and_writes_nothing_twice(
    run: HopperInstance, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    """SIGKILL with half a file, with a whole file before the removal, and after the commit."""
    tasks = sorted(ended(run).pk for _ in range(4))
    minutes.count_events()
    connections.close_all()
    child = os.fork()
    if child == 0:
        monkeypatch.setattr(batches, place, lambda *_: os.kill(os.getpid(), signal.SIGKILL))
        try:
            archived(tmp_path, most=2)
        finally:
            os._exit(0)
    assert os.WIFSIGNALED(os.waitpid(child, 0)[1])
    assert sorted([*Task.objects.values_list("pk", flat=True), *in_archive()]) == tasks
    archived(tmp_path, most=2)
    assert [path.suffix for path in tmp_path.iterdir()] == [".jsonl", ".jsonl"]
    assert tasks_in(tmp_path.iterdir()) == in_archive() == tasks
    assert audit_files(sorted(tmp_path.iterdir())) == []
    assert unsound() == []


def in_archive() -> list[str]:
    return sorted(ArchivedTask.objects.values_list("pk", flat=True))


def test_a_folder_that_cannot_be_written_removes_nothing(
    run: HopperInstance, tmp_path: Path
) -> None:
    task = ended(run)
    (tmp_path / "file").touch()
    with pytest.raises(OSError, match="file"):
        archived(tmp_path / "file")
    assert Task.objects.filter(pk=task.pk).exists()


def test_a_task_that_is_opened_again_meanwhile_stays(
    run: HopperInstance, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    task = ended(run)

    def reopened(roots: list[str]) -> None:
        reopen_task(task.pk, actor=ALICE)
        lock_families(roots)

    monkeypatch.setattr(batches, "lock_families", reopened)
    assert archived(tmp_path) == []


def test_the_sweep_archives_where_it_knows_the_folder(
    run: HopperInstance, tmp_path: Path, settings: Any
) -> None:
    ended(run)
    sweep()
    with time_machine.travel(timezone.now() + 31 * DAY) as clock:
        settings.HOPPER_ARCHIVE_DIR = None
        assert sweep().tasks_archived == 0
        settings.HOPPER_ARCHIVE_DIR = tmp_path
        assert sweep().tasks_archived == 1
        set_status(TaskFactory(instance=run).pk, status="done", actor=ALICE)
        sweep()
        clock.shift(31 * DAY)
        assert sweep().tasks_archived == 1


def test_the_sweep_goes_on_where_the_last_one_stopped_and_rests_at_the_end(
    run: HopperInstance, tmp_path: Path, settings: Any
) -> None:
    for _ in range(3):
        ended(run)
    sweep()
    settings.HOPPER_ARCHIVE_DIR = tmp_path
    with time_machine.travel(timezone.now() + 31 * DAY) as clock:
        assert [sweep(limit=1).tasks_archived for _ in range(3)] == [1, 1, 1]
        assert sweep().tasks_archived == 0
        early = ended(run)
        Task.objects.filter(pk=early.pk).update(finished_at=early.finished_at - 31 * DAY)
        sweep()
        assert Task.objects.filter(pk=early.pk).exists()
        clock.shift(batches.PAUSE)
        assert sweep().tasks_archived == 1


def test_the_commands_say_what_they_do(run: HopperInstance, tmp_path: Path, settings: Any) -> None:
    def said(*arguments: Any) -> str:
        out = io.StringIO()
        call_command(*map(str, arguments), stdout=out)
        return out.getvalue()

    task = ended(run)
    settings.HOPPER_ARCHIVE_DIR = None
    with time_machine.travel(timezone.now() + 31 * DAY):
        with pytest.raises(CommandError, match="HOPPER_ARCHIVE_DIR"):
            said("hopper_archive")
        settings.HOPPER_ARCHIVE_DIR = tmp_path
        assert said("hopper_archive", "--preview").startswith("1 families")
        answer = json.loads(said("hopper_archive", "--json"))
    assert answer["tasks"] == 1
    file = tmp_path / answer["files"][0]["file"]
    assert "1 task," in said("hopper_archive", "--list")
    lines = [
        json.loads(line)["row"]
        for line in said("hopper_archive", "--task", task.pk).split("\n")
        if line
    ]
    assert lines[0]["title"] == task.title
    with pytest.raises(CommandError, match="has no task t-9"):
        said("hopper_archive", "--task", "t-9")
    assert json.loads(said("hopper_check", "--json", "--archive", file))["sound"] is True
    row = next(line for line in file.read_text().splitlines() if '"instances.task"' in line)
    file.write_text(file.read_text().replace(row, row.replace('"done"', '"pending"')))
    with pytest.raises(SystemExit):
        said("hopper_check", "--archive", file)
    file.write_text(f"{row}\n{row}\n")
    with pytest.raises(CommandError, match="is no file of the archive"):
        said("hopper_check", "--archive", file)


def test_every_table_that_leads_to_a_task_is_known() -> None:
    """A new table goes to the archive with its task, unless it is told to stay, as lessons are."""
    leading = {Task}
    rooms = [apps.get_app_config(room) for room in ("instances", "scopes", "delegation")]
    models = [model for room in rooms for model in room.get_models()]
    for _ in range(3):
        leading |= {
            model
            for model in models
            for field in model._meta.concrete_fields
            if field.related_model in leading and model is not Lesson
        }
    assert leading == {Task, *OF_A_TASK}
