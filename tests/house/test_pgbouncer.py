"""Hopper works through pgbouncer in transaction mode, with two connections for all callers."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings
from django.db import connection

PGBOUNCER = shutil.which("pgbouncer") or shutil.which("/usr/sbin/pgbouncer")
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
    folder = Path(tempfile.mkdtemp(prefix="hopper-pool-", dir="/tmp"))
    ini = folder / "pgbouncer.ini"
    ini.write_text(
        f"[databases]\n* = host={database['HOST'] or database['OPTIONS'].get('host')} user=hopper\n"
        f"[pgbouncer]\nunix_socket_dir = {folder}\nlisten_port = 6432\nauth_type = any\n"
        "pool_mode = transaction\ndefault_pool_size = 2\n"
    )
    who: dict[str, Any] = {}
    if os.geteuid() == 0:  # pgbouncer refuses to run as root
        nobody = pwd.getpwnam("nobody")
        who = {"user": nobody.pw_uid, "group": nobody.pw_gid}
        for path in (folder, ini):
            os.chown(path, nobody.pw_uid, nobody.pw_gid)
    pooler = subprocess.Popen([str(PGBOUNCER), "-q", str(ini)], cwd=folder, **who)
    while not (folder / ".s.PGSQL.6432").exists():
        assert pooler.poll() is None
        time.sleep(0.02)
    url = f"postgres://hopper@/{database['NAME']}?host={folder}&port=6432"
    yield {**os.environ, "DJANGO_SETTINGS_MODULE": "hopper.settings", "HOPPER_DATABASE_URL": url}
    pooler.terminate()
    pooler.wait()
    shutil.rmtree(folder)


@pytest.mark.postgres
@pytest.mark.skipif(PGBOUNCER is None, reason="needs pgbouncer")
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
