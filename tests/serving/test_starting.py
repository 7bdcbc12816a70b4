"""The ways to start a server: `hopper migrate` before it, and `make serve` in a checkout."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import sqlite3
import subprocess
from contextlib import closing
from pathlib import Path

import pytest

from hopper.cli.parser import build_parser
from tests.cli.shell import HOPPER
from tests.serving.conftest import environ

TOP = Path(__file__).resolve().parents[2]

pytestmark = pytest.mark.unmeasured


def test_migrate_makes_the_tables_of_the_named_database_and_no_other(tmp_path: Path) -> None:
    store = tmp_path / "team" / "hopper.db"
    store.parent.mkdir()
    done = subprocess.run(
        [HOPPER, "migrate", "--database", store],
        env=environ(tmp_path / "home"),
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    with closing(sqlite3.connect(store)) as connection:
        tables = {name for (name,) in connection.execute("SELECT name FROM sqlite_master")}
    assert {"instances_task", "delegation_taskdelegation", "instances_agenttoken"} <= tables
    assert not (tmp_path / "home").exists()


def serving(address: str) -> list[str]:
    """Return the words of the command by which `make serve` would serve at an address."""
    if shutil.which("make") is None:
        pytest.skip("no make")
    told = subprocess.run(
        [
            "make",
            "--dry-run",
            "--always-make",
            "serve",
            *([f"ADDRESS={address}"] if address else []),
        ],
        cwd=TOP,
        env={key: value for key, value in os.environ.items() if key != "ADDRESS"},
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert not re.search(r"token|createsuperuser", told)
    (line,) = [line for line in told.splitlines() if "/hopper " in line]
    return shlex.split(line)


@pytest.mark.parametrize(
    ("address", "host", "port"),
    [("", "127.0.0.1", 8000), ("127.0.0.1:9123", "127.0.0.1", 9123), ("0.0.0.0:80", "0.0.0.0", 80)],
)
def test_make_serve_listens_at_its_address_and_makes_no_token_itself(
    address: str, host: str, port: int
) -> None:
    words = serving(address)
    assert words[0].endswith("/hopper")
    assert build_parser().parse_args(words[1:])
    told = dict(zip(words[-4::2], words[-3::2], strict=True))
    assert told == {"--host": host, "--port": str(port)}
