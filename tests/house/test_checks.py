"""The system checks and the settings they look at."""

from __future__ import annotations

import json
import logging
import sys
from pathlib import Path

import pytest
from django.core.management.base import SystemCheckError
from django.db import connection
from pytest_django import Settings

from hopper import checks, database
from hopper.logs import JsonFormatter, TextFormatter


def test_the_shipped_settings_pass() -> None:
    assert checks.check_time() == []
    assert checks.check_open_access() == []
    checks.require_sound_start()


def test_another_time_zone_is_refused(settings: Settings) -> None:
    settings.TIME_ZONE = "Europe/Vienna"
    assert [message.id for message in checks.check_time()] == ["hopper.E001"]


def test_open_access_needs_loopback_names_only(settings: Settings) -> None:
    settings.HOPPER_AUTH = "off"
    settings.ALLOWED_HOSTS = ["localhost"]
    assert checks.check_open_access() == []
    settings.ALLOWED_HOSTS = ["localhost", "hopper.example"]
    assert [message.id for message in checks.check_open_access()] == ["hopper.E003"]
    with pytest.raises(SystemCheckError, match=r"hopper\.example"):
        checks.require_sound_start()


def test_a_mistyped_switch_is_refused(settings: Settings) -> None:
    settings.HOPPER_AUTH = "of"
    assert [message.id for message in checks.check_open_access()] == ["hopper.E002"]


def test_a_missing_config_folder_is_refused(tmp_path: Path, settings: Settings) -> None:
    settings.HOPPER_CONFIG_DIR = str(tmp_path)
    checks.require_sound_start()
    settings.HOPPER_CONFIG_DIR = str(tmp_path / "none")
    with pytest.raises(SystemCheckError, match=r"none:1: there is no such folder"):
        checks.require_sound_start()


def test_sqlite_is_advised_against_for_servers() -> None:
    advice = [message.id for message in checks.check_engine()]
    assert advice == (["hopper.W001"] if connection.vendor == "sqlite" else [])


@pytest.mark.django_db
def test_the_engine_is_set_up_as_measured() -> None:
    with connection.cursor() as cursor:
        if connection.vendor == "sqlite":
            cursor.execute("PRAGMA journal_mode")
            assert cursor.fetchone() == ("wal",)
            cursor.execute("PRAGMA synchronous")
            assert cursor.fetchone() == (1,)
        else:
            cursor.execute("SHOW idle_in_transaction_session_timeout")
            assert cursor.fetchone() == ("1min",)
            cursor.execute("SHOW transaction_isolation")
            assert cursor.fetchone() == ("read committed",)
            cursor.execute("SHOW jit")
            assert cursor.fetchone() == ("off",)
            cursor.execute("SHOW lock_timeout")
            assert cursor.fetchone() == ("10s",)
            cursor.execute("SHOW statement_timeout")
            assert cursor.fetchone() == ("20s",)


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("reconnect", [True, False])
def test_a_session_without_the_settings_gets_the_command_as_hint(reconnect: bool) -> None:
    if connection.vendor == "sqlite":
        pytest.skip("needs PostgreSQL")
    if reconnect:
        connection.close()
    assert checks.check_database_settings(databases=["default"]) == []
    with connection.cursor() as cursor:
        cursor.execute("SET lock_timeout = 0")
    (advice,) = checks.check_database_settings(databases=["default"])
    assert (advice.id, "lock_timeout" in advice.msg) == ("hopper.W002", True)
    assert "hopper migrate" in str(advice.hint)
    connection.close()


@pytest.mark.django_db(transaction=True)
def test_a_migration_and_a_snapshot_may_take_any_time() -> None:
    if connection.vendor == "sqlite":
        pytest.skip("needs PostgreSQL")
    with connection.cursor() as cursor:
        with database.snapshot():
            cursor.execute("SHOW statement_timeout")
            assert cursor.fetchone() == ("0",)
        cursor.execute("SHOW statement_timeout")
        assert cursor.fetchone() == ("20s",)
        database.lift_time_limit(plan=[])
        cursor.execute("SHOW statement_timeout")
        assert cursor.fetchone() == ("20s",), "a pooler gives this session to other callers"
        database.lift_time_limit()
        cursor.execute("SHOW statement_timeout")
        assert cursor.fetchone() == ("0",)
        database.store_settings()
        cursor.execute("SHOW statement_timeout")
        assert cursor.fetchone() == ("20s",)


def test_a_text_line_has_the_fields_of_the_json_line() -> None:
    formatter = TextFormatter("%(levelname)s %(message)s")
    record = logging.LogRecord("h", logging.ERROR, __file__, 1, "refused", (), None)
    assert formatter.format(record) == "ERROR refused"
    record.event, record.problems = "config.refused", ["rules.yaml:3: x: unknown key"]
    assert formatter.format(record) == "ERROR refused [problems=['rules.yaml:3: x: unknown key']]"


def test_a_log_line_is_one_json_object() -> None:
    try:
        raise ValueError("bad")
    except ValueError:
        record = logging.LogRecord("h", logging.INFO, __file__, 1, "it %s", ("is",), sys.exc_info())
    record.event = "task.created"
    line = json.loads(JsonFormatter().format(record))
    assert (line["message"], line["level"], line["event"]) == ("it is", "info", "task.created")
    assert "ValueError: bad" in line["exception"]
