"""While the database is out of reach or busy a caller hears 503 and when to try again; afterwards
the same server works, and what is repeated with its key is done once.
"""

from __future__ import annotations

import json
import os
import sqlite3
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest
import urllib3
from django.db import connection, transaction

from instances.models import Task
from tests.crash.site import Site

OURS = "hopper-outage"
# One process may get all four waiting requests and the question for its health.
THREADED = {"GUNICORN_CMD_ARGS": "--threads 6"}


@pytest.fixture
def socket_folder(tmp_path: Path) -> Path:
    """A folder with a link to the database's socket, which a test may take away."""
    folder = tmp_path / "socket"
    folder.mkdir()
    return folder


@pytest.fixture
def server(child_environ: dict[str, str], tmp_path: Path, socket_folder: Path) -> Iterator[str]:
    """The address of a server: on PostgreSQL by the link, on SQLite waiting a second for locks."""
    plain, _, query = child_environ["HOPPER_DATABASE_URL"].partition("?")
    if connection.vendor == "postgresql":
        real = Path(query.removeprefix("host=")) / ".s.PGSQL.5432"
        if not real.exists():
            pytest.skip("needs a database behind a socket")
        (socket_folder / real.name).symlink_to(real)
        url = f"{plain}?host={socket_folder}&application_name={OURS}"
    else:
        url = f"{plain}?timeout=1"
    site = Site(tmp_path, child_environ | {"HOPPER_DATABASE_URL": url, **THREADED}, commits=0)
    site.open()
    yield site.addresses[0]
    site.close()


@contextmanager
def out_of_reach(folder: Path) -> Iterator[None]:
    """Take the database away: on PostgreSQL every connection, on SQLite the write lock."""
    if connection.vendor == "sqlite":
        with closing(sqlite3.connect(connection.settings_dict["NAME"], timeout=30)) as other:
            other.execute("BEGIN IMMEDIATE")
            yield
            other.rollback()
        return
    (link,) = folder.iterdir()
    real = os.readlink(link)
    link.unlink()
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE application_name = %s AND datname = current_database()",
            [OURS],
        )
    yield
    link.symlink_to(real)


def call(address: str, method: str, path: str, body: Any = None, key: str = "") -> Any:
    headers = {"Idempotency-Key": key} if key else {}
    return urllib3.request(
        method, f"{address}{path}", json=body, headers=headers, retries=False, timeout=60
    )


@pytest.mark.django_db(transaction=True)
def test_a_lost_database_is_503_and_the_repeated_request_is_carried_out_once(
    server: str, socket_folder: Path
) -> None:
    assert call(server, "GET", "/api/v1/status").status == 200
    ask = ("POST", "/api/v1/tasks", {"title": "once"}, "a-key")
    with out_of_reach(socket_folder):
        for _ in range(3):
            answer = call(server, *ask)
            body = json.loads(answer.data)
            assert (answer.status, body["code"]) == (503, "database_unavailable")
            assert answer.headers["Content-Type"] == "application/problem+json"
            assert int(answer.headers["Retry-After"]) >= 1
        assert call(server, "GET", "/healthz").status == 200
        if connection.vendor == "postgresql":
            assert call(server, "GET", "/api/v1/status").status == 503
            assert call(server, "GET", "/readyz").status == 503
    assert [call(server, *ask).status for _ in range(2)] == [201, 201]
    assert call(server, "GET", "/readyz").status == 200
    assert Task.objects.filter(title="once").count() == 1


@pytest.mark.django_db(transaction=True)
def test_a_lock_of_somebody_else_ends_in_503_and_health_answers_meanwhile(server: str) -> None:
    if connection.vendor == "sqlite":
        pytest.skip("needs PostgreSQL")
    with transaction.atomic(), connection.cursor() as cursor, ThreadPoolExecutor(4) as clients:
        cursor.execute(f"LOCK TABLE {Task._meta.db_table} IN ACCESS EXCLUSIVE MODE")
        waiting = [clients.submit(call, server, "GET", "/api/v1/tasks") for _ in range(4)]
        time.sleep(1)
        assert call(server, "GET", "/healthz").status == 200
        assert not any(one.done() for one in waiting)
        answers = [one.result() for one in waiting]
    assert {answer.status for answer in answers} == {503}
    assert all(int(answer.headers["Retry-After"]) >= 1 for answer in answers)
    assert call(server, "GET", "/api/v1/tasks").status == 200
