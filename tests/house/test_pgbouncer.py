"""Hopper works through pgbouncer in transaction mode, with two connections for all callers."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator

import pytest
from django.conf import settings
from django.db import connection

from tests.pgbouncer import PORT, PROGRAM, pooler

FLOW = """
import threading

from hopper.cli.local import open_transport

def work(number):
    transport = open_transport()
    def call(method, path, body=None, **options):
        reply = transport.request(method, path, body=body, **options)
        assert reply.status < 300, (path, reply)
        return reply.data
    name = f"run-{number}"
    body = {"name": name, "scope": "ORCHESTRATION", "parent_id": "top"}
    call("POST", "/instances", body)
    call("POST", f"/instances/{name}/start", {})
    for _ in range(5):
        call("POST", "/tasks", {"title": "t", "instance_id": name})
        (task,) = call("POST", f"/instances/{name}/claim", {"worker": "w"})["tasks"]
        body = {"worker": "w", "token": task["lease"]["token"], "result": {}}
        call("POST", f"/tasks/{task['id']}/complete", body)
        call("GET", f"/instances/{name}/hierarchy")
    done.append(number)

done = []
first = open_transport()
first.request("POST", "/instances", body={"name": "top", "scope": "PROJECT"})
first.request("POST", "/instances/top/start", body={})
crowd = [threading.Thread(target=work, args=(number,)) for number in range(6)]
for one in crowd:
    one.start()
for one in crowd:
    one.join()
print(sorted(done))
"""


@pytest.fixture
def pooled() -> Iterator[dict[str, str]]:
    """The environment of a process that reaches the test's database through pgbouncer."""
    database = connection.settings_dict
    with pooler(database["HOST"] or database["OPTIONS"]["host"], 2) as folder:
        url = f"postgres://hopper@/{database['NAME']}?host={folder}&port={PORT}"
        settings_of_process = {"DJANGO_SETTINGS_MODULE": "hopper.settings"}
        yield {**os.environ, **settings_of_process, "HOPPER_DATABASE_URL": url}


@pytest.mark.postgres
@pytest.mark.skipif(PROGRAM is None, reason="needs pgbouncer")
@pytest.mark.django_db(transaction=True)
def test_callers_share_two_connections(pooled: dict[str, str]) -> None:
    done = subprocess.run(
        [sys.executable, "-c", FLOW],
        env=pooled,
        cwd=settings.BASE_DIR,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert (done.returncode, done.stdout) == (0, "[0, 1, 2, 3, 4, 5]\n"), done.stderr
