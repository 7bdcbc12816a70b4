"""An export imported elsewhere gives the same instances and tasks; a wrong one gives nothing."""

from __future__ import annotations

import io
import json
import random
import re
import tracemalloc
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.utils import timezone

from delegation.sweep import sweep
from delegation.transfer import exporting, importing
from delegation.transfer.exporting import export_lines
from delegation.transfer.importing import import_lines
from delegation.transfer.lines import HEAD, BadLines
from hopper.database import snapshot
from instances.models import Event, Task, TaskDependency
from tests.factories import ALICE, InstanceFactory, TaskFactory
from tests.flows.forest import Forest
from tests.flows.rows import differences, everything
from tests.protocol.random_life import STEPS, RandomLife
from tests.soundness import unsound

pytestmark = pytest.mark.django_db(transaction=True)

WORKED_ON = ("claimed", "in_progress", "blocked")


def exported() -> bytes:
    with snapshot():
        return b"".join(export_lines())


def imported(text: bytes, **options: Any) -> Counter[str]:
    return import_lines(io.BytesIO(text), actor=ALICE, **options)


def lines(*rows: dict[str, Any]) -> bytes:
    """Return the text of an export with these rows."""
    return b"".join(json.dumps(row).encode() + b"\n" for row in (HEAD, *rows))


def read(text: bytes) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines()[1:]]


def refused(text: bytes) -> str:
    """Return why an import is refused, which writes nothing."""
    before = everything()
    with pytest.raises(BadLines) as found:
        imported(text)
    assert differences(before, everything()) == {}
    return str(found.value)


def elsewhere() -> None:
    """Empty the database."""
    call_command("flush", interactive=False, verbosity=0, reset_sequences=False)


def begun_anew(row: dict[str, Any]) -> dict[str, Any]:
    """Return a line as an export after the import has it."""
    waits = row.get("waiting_on") or {}
    stays = (row["status"] == "in_progress" and row["decomposed"]) or (
        waits.get("code") == "InputRequired"
    )
    if row["kind"] == "task" and row["status"] in WORKED_ON and not stays:
        row.pop("waiting_on", None)
        row |= {"status": "pending", "worker": ""}
    return row


def without_readiness(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """A failed predecessor may block its dependant at once, or after the next sweep."""
    return [
        {**row, "status": "pending", "waiting_on": None}
        if (row.get("waiting_on") or {}).get("code") == "DependencyFailed"
        else {**row, "waiting_on": row.get("waiting_on")}
        for row in rows
    ]


def grown_forest(die: random.Random) -> None:
    forest = Forest(die, projects=2, runs=1)
    forest.grow(26)
    forest.unsettle()


def lived(die: random.Random) -> None:
    life = RandomLife()
    life.plant()
    for step in die.choices(list(STEPS), STEPS.values(), k=60):
        life.step(step, str(die.random()))


@pytest.mark.parametrize(("make", "seed"), [(grown_forest, 0), (lived, 0), (lived, 1)])
def test_what_is_exported_is_imported_whole(
    make: Callable[[random.Random], None], seed: int
) -> None:
    make(random.Random(seed))
    text = exported()
    wanted = [begun_anew(row) for row in read(text)]
    elsewhere()
    counts = imported(text)
    assert counts["instances"] + counts["tasks"] == len(wanted)
    assert without_readiness(read(exported())) == without_readiness(wanted)
    assert unsound() == []
    sweep()
    assert unsound() == []


def test_a_second_import_changes_nothing() -> None:
    grown_forest(random.Random(7))
    text = exported()
    elsewhere()
    imported(text)
    before = everything()
    counts = imported(text)
    assert differences(before, everything()) == {}
    assert counts["instances"] == counts["tasks"] == 0
    assert counts["tasks_present"] == Task.objects.count()


def test_an_import_goes_on_beside_other_work_here() -> None:
    web = InstanceFactory(scope="PROJECT", name="web")
    task = TaskFactory(instance=web)
    text = exported()
    TaskFactory(instance=web)
    Task.objects.filter(pk=task.pk).update(owner="")
    assert imported(text)["tasks_present"] == 1
    assert Task.objects.count() == 2


PROJECT = {"kind": "instance", "id": "web", "name": "web", "scope": "PROJECT", "status": "running"}
TASK = {"kind": "task", "id": "task-1", "title": "a", "instance_id": "web"}


@pytest.mark.usefixtures("sound")
def test_a_line_written_by_hand_needs_little() -> None:
    imported(lines(PROJECT, TASK, {"kind": "task", "id": "task-2", "title": "b"}))
    task = Task.objects.get(pk="task-1")
    assert (task.status, task.instance_id, task.root_id) == ("pending", "web", "task-1")
    assert Task.objects.get(pk="task-2").instance_id is None


@pytest.mark.usefixtures("sound")
def test_a_line_may_point_ahead() -> None:
    parent = {**TASK, "id": "task-p", "status": "in_progress", "decomposed": True}
    child = {**TASK, "id": "task-c", "parent_id": "task-p", "root_id": "task-p"}
    imported(lines(PROJECT, {**child, "depends_on": ["task-z"]}, parent, {**TASK, "id": "task-z"}))
    assert TaskDependency.objects.get().task_id == "task-c"
    assert not Task.objects.get(pk="task-c").ready


@pytest.mark.usefixtures("sound")
def test_the_end_of_a_task_stands_in_every_feed_above() -> None:
    top = InstanceFactory(name="top")
    web = InstanceFactory(scope="PROJECT", parent=top, name="web")
    imported(lines({**TASK, "status": "done", "instance_id": web.pk, "result": {"a": 1}}))
    ends = Event.objects.filter(task="task-1", ending=True)
    assert set(ends.values_list("instance_id", flat=True)) == {top.pk, web.pk}
    assert Task.objects.get().result == {"a": 1}


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        ([PROJECT, {**TASK, "priority": "huge"}], 'line 3: priority: is "huge": .*allowed: low'),
        ([PROJECT, {**TASK, "colour": 1}], "line 3: colour: is 1: unknown field"),
        ([PROJECT, {**TASK, "title": None}], "line 3: title: is null: .*may not be null"),
        ([PROJECT, {**TASK, "created_at": "yesterday"}], "line 3: created_at: is .*its offset"),
        ([PROJECT, {**TASK, "id": "a b"}], 'line 3: id: is "a b": letters, digits'),
        ([{"kind": "tsak"}], 'line 2: kind: is "tsak"; allowed: instance, task'),
        ([{**PROJECT, "scope": "ORCHESTRATION"}], "line 2: ORCHESTRATION cannot stand without"),
        ([{**PROJECT, "status": "busy"}], 'line 2: status: is "busy": .*allowed: created'),
        ([{**PROJECT, "config": {"lease_seconds": 1}}], "line 2: config.lease_seconds: "),
        ([TASK], "line 2: instance_id: is web, which does not exist"),
        ([PROJECT, {**TASK, "depends_on": ["task-9"]}], "line 3: depends_on: there is no"),
        ([PROJECT, {**TASK, "parent_id": "x"}], "line 3: root_id: required with parent_id"),
        ([PROJECT, {**TASK, "parent_id": "x", "root_id": "x"}], "line 3: parent_id: there is no"),
        ([PROJECT, {**TASK, "depends_on": ["task-1"]}], "line 3: here or below: .*cycle"),
        ([{**PROJECT, "status": "terminated"}, TASK], "line 3: .* is terminated"),
        ([PROJECT, {**TASK, "decomposed": True, "status": "in_progress"}], "task-1: waits for"),
        ([PROJECT, TASK, {**TASK, "title": "b"}], "line 4: title: is b, but task-1"),
        ([PROJECT, {**PROJECT, "name": "net"}], "line 3: name: is net, but web exists and has web"),
        ([PROJECT, {**PROJECT, "id": "net"}], "line 3: name: web already bears the name 'web'"),
        (
            [PROJECT, {**TASK, "status": "done", "created_at": "2026-01-02T00:00:00Z",
                       "finished_at": "2026-01-01T00:00:00Z"}],
            "line 3: finished_at: .*not before created_at",
        ),
        (
            [PROJECT, {**TASK, "unique_key": "k"}, {**TASK, "id": "task-2", "unique_key": "k"}],
            "line 4: unique_key: is 'k', which another open task has",
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)  # fmt: skip
def test_a_wrong_line_is_named_and_nothing_is_written(
    rows: list[dict[str, Any]], words: str
) -> None:
    assert re.search(words, refused(lines(*rows)))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (b"", "line 1: the head"),
        (b"\n\n", "line 1: the head"),
        (b'{"project": {"name": "web"}}\n', "line 1: no export of Hopper"),
        (b"routing_rules:\n", "line 1: no JSON"),
        (
            lines() + b'{"kind": "task", "title": "a", "title": "b"}\n',
            "line 2: no JSON: the key 'title' is given twice",
        ),
        (b'{"kind": "hopper", "version": 2}\n', "line 1: version: is 2; this release reads 1"),
        (lines() + b"[1]\n", "line 2: a JSON object is wanted, not"),
        (lines() + b'{"kind": "task", "id": "\\u0000"}\n', "line 2: id: text cannot contain"),
        (lines() + b"\xff\n", "line 2: no JSON"),
    ],
)
def test_a_file_that_is_no_export_is_refused(text: bytes, words: str) -> None:
    assert refused(text).startswith(words)


def test_a_refusal_names_twenty_faults_and_counts_the_others() -> None:
    words = refused(lines(PROJECT, *({**TASK, "id": f"task-{n}", "title": ""} for n in range(25))))
    assert words.count("title: ") == 20
    assert words.endswith("and 5 more")


def test_an_existing_row_with_other_values_is_a_conflict() -> None:
    web = InstanceFactory(scope="PROJECT", name="web")
    task = TaskFactory(instance=web, title="here")
    words = refused(lines({**TASK, "id": task.pk, "title": "there"}))
    assert words == f"line 2: title: is there, but {task.pk} exists and has here"


@pytest.mark.unmeasured  # Thousands of lines go the way that one line goes in other tests.
def test_the_memory_does_not_grow_with_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(importing, "LINES_AT_ONCE", 10)
    monkeypatch.setattr(exporting, "ROWS_AT_ONCE", 10)
    rows = ({**TASK, "id": f"task-{n}", "description": "x" * 50_000} for n in range(100))
    file = tmp_path / "large.jsonl"
    file.write_bytes(lines(PROJECT, *rows))
    tracemalloc.start()
    try:
        with file.open("rb") as opened:
            import_lines(opened, actor=ALICE)
        with snapshot():
            size = sum(map(len, export_lines()))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert size > 5_000_000
    assert peak < 3_500_000


def said(*arguments: Any) -> str:
    out = io.StringIO()
    call_command(*map(str, arguments), stdout=out)
    return out.getvalue()


def test_the_commands_write_and_read_a_file(tmp_path: Path) -> None:
    web = InstanceFactory(scope="PROJECT", name="web")
    TaskFactory(instance=web)
    file = tmp_path / "out.jsonl"
    assert said("hopper_export", file) == f"Wrote 2 lines of instances and tasks to {file}.\n"
    with pytest.raises(CommandError, match="exists: name another file, or give --replace"):
        said("hopper_export", file)
    assert json.loads(said("hopper_export", file, "--replace", "--json"))["lines"] == 2
    elsewhere()
    assert "Would import 1 instance and 1 task" in said("hopper_import", file, "--check")
    assert not Task.objects.exists()
    counts = json.loads(said("hopper_import", file, "--json"))
    assert counts == {
        "written": True, "instances": 1, "tasks": 1, "instances_present": 0, "tasks_present": 0,
    }  # fmt: skip
    file.write_bytes(lines({**TASK, "priority": "huge"}))
    with pytest.raises(CommandError, match=r"nothing was imported.\nline 2: priority"):
        said("hopper_import", file)
    with pytest.raises(CommandError, match="cannot be read: No such file"):
        said("hopper_import", tmp_path / "none")


def test_the_times_of_a_task_come_along() -> None:
    web = InstanceFactory(scope="PROJECT", name="web")
    made = timezone.now().replace(year=2020)
    imported(lines({**TASK, "instance_id": web.pk, "created_at": made.isoformat()}))
    assert Task.objects.get().created_at == made
