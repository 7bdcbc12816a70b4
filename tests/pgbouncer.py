"""pgbouncer in transaction mode: `python -m tests.pgbouncer -- COMMAND` runs COMMAND behind one.

python -m tests.pgbouncer -- .venv/bin/python -m pytest -m storm tests/concurrency
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests import postgres

PROGRAM = shutil.which("pgbouncer") or shutil.which("/usr/sbin/pgbouncer")
PORT = 5432
"""PostgreSQL's default port. Processes that a test starts use this port."""


@contextmanager
def pooler(host: str, connections: int) -> Iterator[Path]:
    """Run a pgbouncer with so many connections to the server at `host`; yields its socket folder.

    Raises RuntimeError where pgbouncer does not start.
    """
    folder = Path(tempfile.mkdtemp(prefix="hopper-pool-", dir="/tmp"))
    ini = folder / "pgbouncer.ini"
    ini.write_text(
        f"[databases]\n* = host={host} user=hopper\n"
        f"[pgbouncer]\nunix_socket_dir = {folder}\nlisten_port = {PORT}\nauth_type = any\n"
        f"pool_mode = transaction\ndefault_pool_size = {connections}\nmax_client_conn = 500\n"
    )
    who = postgres.unprivileged(folder)  # pgbouncer refuses to run as root
    running = subprocess.Popen([str(PROGRAM), "-q", str(ini)], cwd=folder, **who)
    try:
        while not (folder / f".s.PGSQL.{PORT}").exists():
            if running.poll() is not None:
                raise RuntimeError(f"pgbouncer ended with {running.returncode}")
            time.sleep(0.02)
        yield folder
    finally:
        running.terminate()
        running.wait()
        shutil.rmtree(folder)


def main(arguments: list[str]) -> int:
    """Run the command after `--` behind a pgbouncer; returns its exit code."""
    if arguments[:1] != ["--"] or len(arguments) < 2:
        print("usage: python -m tests.pgbouncer -- COMMAND [ARGUMENT...]", file=sys.stderr)
        return 2
    if PROGRAM is None:
        print("no pgbouncer on PATH or in /usr/sbin", file=sys.stderr)
        return 1
    with postgres.server() as url, pooler(url.partition("host=")[2], 20) as folder:
        pooled = f"postgres://hopper@/hopper?host={folder}&port={PORT}"
        environ = {**postgres.environ(pooled), "HOPPER_TEST_POOLED": "1"}
        return subprocess.run(arguments[1:], env=environ, check=False).returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
