"""Servers of two releases on one database: the older one works on, or says that it must stop."""

from __future__ import annotations

import re
import sys
from threading import Event, Semaphore, Thread
from typing import Any

import pytest
from django.db import connection, models
from django.db.backends.signals import connection_created
from django.db.migrations.loader import MigrationLoader
from django.db.migrations.operations import AddField
from django.test import Client
from django.utils import timezone

from hopper.upgrades import migrate, require_new_enough
from tests.api.conftest import API

ROOMS = ("instances", "scopes", "delegation")
LAST_BEFORE_THE_RULE = 29
"""Servers of this release are the first that know the rule. Its own migrations say stop anyway."""

TOKEN = {"Authorization": "Bearer hop_unknown"}


def newer_migrations() -> list[Any]:
    """Return the migrations since servers of two releases can work together."""
    found = MigrationLoader(None).disk_migrations
    return [
        migration
        for (room, name), migration in sorted(found.items())
        if room in ROOMS and int(name[:4]) > LAST_BEFORE_THE_RULE
    ]


def test_each_migration_says_rolling_or_stop() -> None:
    for migration in newer_migrations():
        words = sys.modules[migration.__module__].__doc__ or ""
        said = re.search(r"\b(Rolling|Stop)\b", words)
        assert said, f"{migration}: says neither Rolling nor Stop"
        assert migration.name.endswith("_stop") == (said[1] == "Stop"), migration


def test_a_rolling_migration_gives_new_columns_a_default_in_the_database() -> None:
    for migration in newer_migrations():
        if migration.name.endswith("_stop"):
            continue
        for operation in migration.operations:
            if isinstance(operation, AddField):
                field = operation.field
                has_default = field.null or field.db_default is not models.NOT_PROVIDED
                assert has_default, f"{migration}: {operation.name}"


@pytest.mark.django_db(transaction=True)
def test_a_server_that_is_too_old_answers_503(client: Client) -> None:
    row = ("instances", "9999_later_stop", timezone.now())
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO django_migrations (app, name, applied) VALUES (%s, %s, %s)",
            row,
        )
    try:
        connection.close()
        answer = client.get(f"{API}/tasks", headers=TOKEN)
        assert (answer.status_code, answer.json()["code"]) == (503, "older_server")
        assert "instances.9999_later_stop" in answer.json()["detail"]
    finally:
        connection_created.disconnect(require_new_enough)
        with connection.cursor() as cursor:
            cursor.execute("DELETE FROM django_migrations WHERE name = %s", [row[1]])
        connection_created.connect(require_new_enough)
    assert client.get(f"{API}/tasks", headers=TOKEN).status_code == 401


@pytest.mark.postgres
@pytest.mark.django_db(transaction=True)
def test_of_two_servers_that_start_one_migrates_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    entered, go_on = Semaphore(0), Event()

    def migration(*_: Any, **__: Any) -> None:
        entered.release()
        assert go_on.wait(60)

    def start() -> None:
        migrate()
        connection.close()

    monkeypatch.setattr("django.core.management.call_command", migration)
    servers = [Thread(target=start) for _ in range(2)]
    for server in servers:
        server.start()
    assert entered.acquire(timeout=60)
    assert not entered.acquire(timeout=0.5), "the second one waits for the first"
    go_on.set()
    assert entered.acquire(timeout=60)
    for server in servers:
        server.join()
