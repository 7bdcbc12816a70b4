"""`hopper backup` copies a database in use; `hopper restore` brings it back whole, or refuses."""

from __future__ import annotations

import io
import json
import os
import re
import stat
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import connection
from django.db.migrations.recorder import MigrationRecorder

from instances.models import HopperInstance, Task
from tests import postgres
from tests.factories import InstanceFactory, TaskFactory

pytestmark = pytest.mark.django_db(transaction=True)

on_postgresql = pytest.mark.postgres


def said(*arguments: Any) -> str:
    """Return the output of a management command that succeeds."""
    out = io.StringIO()
    call_command(*map(str, arguments), stdout=out)
    return out.getvalue()


def refused(*arguments: Any) -> str:
    """Return the reason why a management command refuses."""
    with pytest.raises(CommandError) as found:
        call_command(*map(str, arguments), stdout=io.StringIO())
    return str(found.value)


@pytest.fixture(autouse=True)
def _programs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Put the programs of the tests' own PostgreSQL first."""
    if connection.vendor == "postgresql":
        monkeypatch.setenv("PATH", f"{postgres.find_binaries()}{os.pathsep}{os.environ['PATH']}")


@pytest.fixture
def world() -> HopperInstance:
    project = InstanceFactory(scope="PROJECT", name="web")
    for _ in range(3):
        TaskFactory(instance=project)
    return project


@pytest.fixture
def backup(world: HopperInstance, tmp_path: Path) -> Path:
    said("hopper_backup", tmp_path / "one.backup")
    return tmp_path / "one.backup"


def rows() -> list[Any]:
    return list(Task.objects.order_by("pk").values())


@pytest.fixture
def lost(backup: Path) -> list[Any]:
    """Change the database after the backup, and return the tasks of the backup."""
    before = rows()
    Task.objects.update(title="overwritten")
    TaskFactory(instance=HopperInstance.objects.get())
    return before


@pytest.mark.usefixtures("sound")
def test_a_backup_comes_back_whole(backup: Path, lost: list[Any]) -> None:
    answer = json.loads(said("hopper_restore", backup, "--replace", "--json"))
    assert answer == {"file": str(backup), "sound": True, "findings": []}
    assert rows() == lost


def test_a_database_that_is_not_empty_is_kept(backup: Path, lost: list[Any]) -> None:
    assert "holds 1 hopper instances, 4 tasks" in refused("hopper_restore", backup)
    assert Task.objects.filter(title="overwritten").count() == 3


def test_an_empty_database_needs_no_permission(backup: Path, lost: list[Any]) -> None:
    call_command("flush", interactive=False, verbosity=0, reset_sequences=False)
    assert "3 tasks" in said("hopper_restore", backup)
    assert rows() == lost


def test_broken_rows_of_a_backup_are_named(world: HopperInstance, tmp_path: Path) -> None:
    broken = Task.objects.first()
    Task.objects.filter(pk=broken.pk).update(status="done")
    said("hopper_backup", tmp_path / "broken")
    out = io.StringIO()
    with pytest.raises(SystemExit):
        call_command("hopper_restore", str(tmp_path / "broken"), "--replace", stdout=out)
    assert broken.pk in out.getvalue()


def test_a_backup_is_for_its_owner_alone_and_overwrites_nothing(backup: Path) -> None:
    assert stat.S_IMODE(backup.stat().st_mode) == 0o600
    before = backup.read_bytes()
    assert "exists: name another file, or give --replace" in refused("hopper_backup", backup)
    assert backup.read_bytes() == before
    assert json.loads(said("hopper_backup", backup, "--replace", "--json"))["bytes"] > 0
    assert [file.name for file in backup.parent.iterdir()] == [backup.name]


def test_a_folder_that_is_not_there_is_named(world: HopperInstance, tmp_path: Path) -> None:
    assert "cannot be written: No such file" in refused("hopper_backup", tmp_path / "no" / "file")
    assert "there is no such file" in refused("hopper_restore", tmp_path / "no", "--replace")


@pytest.mark.parametrize("content", [b"", b"no backup\n" * 1000])
def test_a_file_that_is_no_backup_changes_nothing(
    world: HopperInstance, tmp_path: Path, content: bytes
) -> None:
    (tmp_path / "file").write_bytes(content)
    assert str(tmp_path / "file") in refused("hopper_restore", tmp_path / "file", "--replace")
    assert Task.objects.count() == 3


def test_half_a_backup_changes_nothing(backup: Path, lost: list[Any]) -> None:
    whole = backup.read_bytes()
    backup.write_bytes(whole[: len(whole) // 2])
    refused("hopper_restore", backup, "--replace")
    assert Task.objects.filter(title="overwritten").count() == 3


def test_the_backup_of_a_newer_release_asks_for_it(world: HopperInstance, tmp_path: Path) -> None:
    recorder = MigrationRecorder(connection)
    recorder.record_applied("instances", "9999_later")
    try:
        said("hopper_backup", tmp_path / "newer")
        assert "instances.9999_later" in refused("hopper_restore", tmp_path / "newer", "--replace")
    finally:
        recorder.record_unapplied("instances", "9999_later")


@pytest.mark.usefixtures("sound")
def test_a_backup_beside_writers_is_of_one_moment(world: HopperInstance, tmp_path: Path) -> None:
    ended = threading.Event()

    def write() -> None:
        while not ended.is_set():
            TaskFactory(instance=world)
        connection.close()

    writer = threading.Thread(target=write)
    writer.start()
    try:
        for number in range(3):
            said("hopper_backup", tmp_path / str(number))
    finally:
        ended.set()
        writer.join()
    for number in range(3):
        assert json.loads(said("hopper_restore", tmp_path / str(number), "--replace", "--json"))[
            "sound"
        ]


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[[str], None]:
    """Let `fake(script)` be the only program `pg_dump`."""

    def install(script: str) -> None:
        folder = tmp_path / "programs"
        folder.mkdir(exist_ok=True)
        (folder / "pg_dump").write_text(f"#!/bin/sh\n{script}\n")
        (folder / "pg_dump").chmod(0o700)
        monkeypatch.setenv("PATH", str(folder))

    return install


@on_postgresql
def test_a_machine_without_the_programs_says_what_to_install(
    world: HopperInstance, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    words = refused("hopper_backup", tmp_path / "file")
    assert words == "pg_dump is not in PATH: install the client of PostgreSQL."


@on_postgresql
def test_a_program_older_than_the_server_is_refused(
    world: HopperInstance, tmp_path: Path, fake: Callable[[str], None]
) -> None:
    fake("echo 'pg_dump (PostgreSQL) 9.6.24'")
    words = refused("hopper_backup", tmp_path / "file")
    assert re.fullmatch(r"pg_dump has version 9, the server version \d+: install .*", words)


@on_postgresql
def test_the_password_is_no_argument(
    world: HopperInstance,
    tmp_path: Path,
    fake: Callable[[str], None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    fake('echo 99; test "$1" = --version || echo "$* password $PGPASSWORD" >> "$OLDPWD/said"')
    monkeypatch.setenv("OLDPWD", str(tmp_path))
    said("hopper_backup", tmp_path / "file")
    words = (tmp_path / "said").read_text()
    assert words.endswith(f" password {connection.settings_dict['PASSWORD']}\n")
    assert "password=" not in words


@on_postgresql
def test_a_foreign_key_outside_the_backup_refuses_the_restore_and_changes_nothing(
    backup: Path, lost: list[Any]
) -> None:
    with connection.cursor() as cursor:
        kind = Task._meta.pk.db_type(connection)
        cursor.execute(f"CREATE TABLE other (task {kind} REFERENCES {Task._meta.db_table})")
        try:
            words = refused("hopper_restore", backup, "--replace")
            assert Task.objects.filter(title="overwritten").count() == 3
        finally:
            cursor.execute("DROP TABLE other")
    assert f"hopper restore --database postgres://USER@HOST/NAME {backup}" in words
