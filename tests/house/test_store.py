"""The embedded store: found, prepared, and prepared by many at once."""

from __future__ import annotations

import os
import pwd
import sqlite3
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from django.conf import settings

from hopper import embedded


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_the_nearest_folder_upwards_wins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOPPER_HOME", str(tmp_path / "elsewhere"))
    (tmp_path / "a" / ".hopper").mkdir(parents=True)
    (tmp_path / "a" / "b" / "c").mkdir(parents=True)
    assert embedded.find(tmp_path / "a" / "b" / "c").home == tmp_path / "a" / ".hopper"


def test_without_one_it_is_hopper_home_then_the_users_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOPPER_HOME", str(tmp_path / "elsewhere"))
    assert embedded.find(tmp_path).home == tmp_path / "elsewhere"
    monkeypatch.delenv("HOPPER_HOME")
    monkeypatch.setenv("HOME", str(tmp_path / "me"))
    assert embedded.find(tmp_path).database == tmp_path / "me" / ".hopper" / "hopper.db"


def test_finding_creates_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOPPER_HOME", str(tmp_path / "elsewhere"))
    embedded.find(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_an_empty_folder_is_initialised_and_closed_to_others(tmp_path: Path) -> None:
    (tmp_path / ".hopper").mkdir(mode=0o755)
    found = embedded.find(tmp_path).prepare()
    assert mode(found.home) == 0o700
    assert mode(found.database) == mode(found.secret_key_file) == 0o600
    with sqlite3.connect(found.database) as connection:
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)


def test_a_second_call_keeps_the_key(tmp_path: Path) -> None:
    key = embedded.Store(tmp_path / "new" / "hopper.db").secret_key()
    assert len(key) >= 50
    assert embedded.Store(tmp_path / "new" / "hopper.db").secret_key() == key


def test_a_draft_left_by_a_crash_is_replaced(tmp_path: Path) -> None:
    (tmp_path / "hopper.db.new").write_text("half a database")
    found = embedded.Store(tmp_path / "hopper.db").prepare()
    with sqlite3.connect(found.database) as connection:
        connection.execute("CREATE TABLE t (x)")


def test_parallel_first_callers_wait_and_none_fails(tmp_path: Path) -> None:
    program = (
        "import django, os; django.setup();"
        "from django.conf import settings; from django.db import connection;"
        "connection.cursor().execute('SELECT 1'); print(settings.SECRET_KEY)"
    )
    environ = {key: value for key, value in os.environ.items() if not key.startswith("HOPPER_")}
    environ |= {
        "HOPPER_DATABASE_URL": f"sqlite:///{tmp_path}/new/hopper.db",
        "DJANGO_SETTINGS_MODULE": "hopper.settings",
    }
    callers = [
        subprocess.Popen(
            [sys.executable, "-c", program],
            cwd=settings.BASE_DIR,
            env=environ,
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(6)
    ]
    keys = {caller.communicate()[0] for caller in callers}
    assert [caller.returncode for caller in callers] == [0] * 6
    assert len(keys) == 1


@pytest.mark.parametrize("home", ["", ".", "relative/folder", "/"])
def test_a_home_that_is_no_folder_of_ones_own_gives_way_to_the_list_of_users(
    home: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("HOPPER_HOME", raising=False)
    monkeypatch.setenv("HOME", home)
    listed = Path(pwd.getpwuid(os.geteuid()).pw_dir)
    assert embedded.find(tmp_path).home == listed / ".hopper"


def test_a_relative_hopper_home_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOPPER_HOME", "store")
    with pytest.raises(OSError, match="HOPPER_HOME is 'store': it has to be an absolute path"):
        embedded.find(tmp_path)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a folder away")
def test_a_store_of_another_user_is_skipped_with_a_warning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("HOPPER_HOME", str(tmp_path / "mine"))
    (tmp_path / ".hopper").mkdir()
    os.chown(tmp_path / ".hopper", 65534, 65534)
    assert embedded.find(tmp_path).home == tmp_path / "mine"
    assert f"{tmp_path / '.hopper'} belongs to another user" in capsys.readouterr().err


def test_a_link_of_another_user_and_a_file_are_skipped_with_a_warning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("HOPPER_HOME", str(tmp_path / "mine"))
    for place, lead in (("dangling", "nowhere"), ("loop", ".hopper")):
        (tmp_path / place).mkdir()
        (tmp_path / place / ".hopper").symlink_to(lead)
    (tmp_path / "file").mkdir()
    (tmp_path / "file" / ".hopper").touch()
    for place in ("dangling", "loop", "file"):
        assert embedded.find(tmp_path / place).home == tmp_path / "mine"
        assert f"{tmp_path / place / '.hopper'} is no folder" in capsys.readouterr().err
    if os.geteuid() == 0:
        (tmp_path / "file" / ".hopper").unlink()
        (tmp_path / "file" / ".hopper").symlink_to(tmp_path / "loop")
        os.lchown(tmp_path / "file" / ".hopper", 65534, 65534)
        embedded._say_once.cache_clear()
        assert embedded.find(tmp_path / "file").home == tmp_path / "mine"
        assert "belongs to another user" in capsys.readouterr().err


def test_a_link_to_a_folder_is_a_store_and_the_mode_of_the_folder_stays(tmp_path: Path) -> None:
    (tmp_path / "shared").mkdir(mode=0o755)
    (tmp_path / ".hopper").symlink_to("shared")
    found = embedded.find(tmp_path).prepare()
    assert mode(tmp_path / "shared") == 0o755
    assert mode(found.database) == mode(found.secret_key_file) == 0o600


def test_a_removed_working_directory_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    with pytest.raises(OSError, match="the working directory was removed"):
        embedded.find()


def test_a_read_only_store_is_read_without_a_file_beside_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = embedded.Store(tmp_path / "hopper.db").prepare()
    assert not store.is_read_only
    assert store.address == str(store.database)
    monkeypatch.setattr(os, "access", lambda *_: False)
    assert store.is_read_only
    assert store.address.endswith("?immutable=1")
    store.database.with_name("hopper.db-wal").write_text("changes of a writer that goes on")
    assert store.address.endswith("?mode=ro")
