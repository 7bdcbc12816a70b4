"""The embedded store is migrated when its schema is not the newest, and swept now and then."""

from __future__ import annotations

import os
import sqlite3
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError
from django.urls import get_resolver

from hopper.cli import local, startup
from hopper.cli.main import main
from hopper.cli.transport import CliError
from hopper.embedded import Store
from hopper.rest import urls


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "hopper.db").prepare()


@pytest.fixture
def migrations(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The calls made instead of a migration."""
    calls: list[str] = []
    monkeypatch.setattr(
        "django.core.management.call_command", lambda name, **_: calls.append(str(name))
    )
    return calls


def test_a_store_is_migrated_once(store: Store, migrations: list[str]) -> None:
    for _ in range(3):
        startup.migrate(store)
    assert migrations == ["migrate"]
    assert startup.version_of(store) == startup.fingerprint()


def test_a_store_of_an_older_schema_is_migrated(store: Store, migrations: list[str]) -> None:
    with closing(sqlite3.connect(store.database)) as database:
        database.execute("PRAGMA user_version = 7")
    startup.migrate(store)
    assert migrations == ["migrate"]


def test_a_store_made_anew_is_seen_as_such(store: Store, migrations: list[str]) -> None:
    startup.migrate(store)
    store.database.unlink()
    assert startup.version_of(store) is None
    startup.migrate(store)
    assert migrations == ["migrate", "migrate"]


def test_the_store_is_swept_at_most_every_ten_seconds(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    sweeps: list[int] = []
    monkeypatch.setattr("hopper.embedded.duties", [lambda limit: sweeps.append(limit)])
    startup.sweep(store)
    startup.sweep(store)
    assert len(sweeps) == 1
    os.utime(store.home / "swept", (0, 0))
    startup.sweep(store)
    assert len(sweeps) == 2


def test_a_sweep_that_fails_does_not_fail_the_command(
    store: Store, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(limit: int) -> None:
        raise RuntimeError("broken")

    monkeypatch.setattr("hopper.embedded.duties", [broken])
    startup.sweep(store)
    assert "sweep failed" in caplog.text


def test_the_lean_addresses_are_those_of_the_server() -> None:
    def below(resolver: Any, prefix: str = "") -> set[str]:
        found: set[str] = set()
        for entry in resolver:
            path = prefix + str(entry.pattern)
            found |= below(entry.url_patterns, path) if hasattr(entry, "url_patterns") else {path}
        return found

    served = {path for path in below(get_resolver().url_patterns) if path.startswith("api/v1/")}
    lean = below(urls.urlpatterns)
    assert lean
    # A command reads no schema and holds no stream.
    only_served = {"api/v1/schema", "api/v1/docs", "api/v1/events/stream"}
    assert {path.rstrip("/") for path in served - lean} == only_served
    assert lean <= served


@pytest.mark.django_db
def test_an_error_of_a_database_command_is_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(name: str, *arguments: str) -> None:
        raise CommandError(f"{name} {' '.join(arguments)} is refused")

    monkeypatch.setattr("django.core.management.call_command", refuse)
    with pytest.raises(CliError, match="hopper_check --fix is refused"):
        local.call("hopper_check", ["--fix"])


@pytest.mark.django_db
def test_the_console_script_carries_out_a_command(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["hopper", "--json", "--local", "task", "list"])
    assert main() == 0
    assert capsys.readouterr().out == "[]\n"


def test_a_store_that_cannot_be_used_is_explained(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken() -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(startup, "embedded_store", broken)
    with pytest.raises(CliError, match="cannot be used") as error:
        startup.set_up()
    assert "HOPPER_HOME" in error.value.hint


@pytest.mark.django_db
def test_an_answer_that_is_no_json_is_no_traceback() -> None:
    reply = local.LocalTransport().request("GET", "/no/such/thing")
    assert reply.status == 404
    assert reply.data["detail"]


def test_a_read_only_store_of_another_release_is_refused(
    store: Store, migrations: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "access", lambda *_: False)
    with pytest.raises(CliError, match="has the tables of another release and is read-only"):
        startup.migrate(store)
    startup.sweep(store)
    assert migrations == []
