"""Start-up of a command without a server: Django, the embedded store, its schema, a sweep."""

from __future__ import annotations

import logging
import os
import sqlite3
import sys
import time
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from importlib.abc import MetaPathFinder
from pathlib import Path
from types import ModuleType

import django
from django.apps import apps
from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.db import DatabaseError, connection

from hopper import embedded, packages
from hopper.cli.transport import CliError, Unreachable
from hopper.config.document import BrokenConfig
from hopper.config.files import CONFIGURATION
from hopper.embedded import Store

logger = logging.getLogger(__name__)

SWEEP_SECONDS = 10
SWEEP_LIMIT = 100
ROOMS = ("instances", "scopes", "delegation")
FOR_BROWSERS = frozenset(
    {
        "django.contrib.admin",
        "django.contrib.messages",
        "django.contrib.sessions",
        "django.contrib.staticfiles",
        "axes",
        "drf_spectacular",
        "drf_spectacular_sidecar",
    }
)

OPTIONAL_TO_DRF = frozenset(
    {
        "guardian",
        "inflection",
        "markdown",
        "psycopg",
        "psycopg2",
        "pygments",
        "requests",
        "uritemplate",
        "yaml",
    }
)
"""Libraries that DRF loads if it can: the PostgreSQL driver alone takes as long as all of DRF."""
NO_SCHEMA = "rest_framework.schemas.inspectors.ViewInspector"


def set_up(*, whole: bool = False) -> Store | None:
    """Load Django once: `whole`, or only the part for the REST interface.

    Migrates an embedded store to the newest schema and returns it. Raises CliError for a store
    that cannot be used and for a setting with an illegal value.
    """
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "hopper.settings")
    if hidden := packages.hidden_by():
        raise CliError(hidden)
    try:
        store = embedded_store()
        if not apps.ready:
            if not whole and store is not None and version_of(store) == fingerprint():
                leave_out_what_browsers_need()
            django.setup()
        return prepare()
    except ImproperlyConfigured as error:
        raise CliError(str(error)) from error
    except (OSError, sqlite3.Error, DatabaseError) as error:
        # A store that is locked is free again later; a folder that is read-only is not.
        kind = CliError if isinstance(error, OSError) else Unreachable
        raise kind(
            f"The store of this machine cannot be used: {error}.",
            hint="See `hopper config show` for where it is; HOPPER_HOME moves it.",
        ) from error


def prepare() -> Store | None:
    """Migrate an embedded store to the newest schema and return it; None for another database."""
    store = embedded_store()
    if store is not None:
        migrate(store)
    return store


def embedded_store() -> Store | None:
    """Return the store that the settings name; None for a server's database."""
    database = settings.DATABASES["default"]
    # A caller inside a transaction (a test) has a schema, and holds the lock of the migration.
    if database["ENGINE"] != embedded.ENGINE or (apps.ready and connection.in_atomic_block):
        return None
    return Store(Path(database["NAME"]))


def leave_out_what_browsers_need() -> None:
    """Load only the REST interface in this process; that takes a third of the time."""
    settings.INSTALLED_APPS = [name for name in settings.INSTALLED_APPS if name not in FOR_BROWSERS]
    settings.ROOT_URLCONF = "hopper.rest.urls"
    settings.REST_FRAMEWORK = {**settings.REST_FRAMEWORK, "DEFAULT_SCHEMA_CLASS": NO_SCHEMA}
    with hidden(OPTIONAL_TO_DRF):
        import rest_framework.compat  # noqa: F401
    # DRF's schemas need one function of the admin's pages, for a schema that is never drawn here.
    pages = ModuleType("django.contrib.admindocs.views")
    pages.__dict__["simplify_regex"] = None
    sys.modules.setdefault(pages.__name__, pages)


class _Hidden(MetaPathFinder):
    """A finder of modules that finds some libraries missing."""

    def __init__(self, names: frozenset[str]) -> None:
        self._names = names

    def find_spec(self, fullname: str, path: Sequence[str] | None, target: object = None) -> None:
        if fullname in self._names:
            raise ModuleNotFoundError(f"{fullname} is not loaded here", name=fullname)


@contextmanager
def hidden(names: frozenset[str]) -> Iterator[None]:
    """Hide the libraries of these names from imports inside the block, if not yet loaded."""
    finder = _Hidden(names)
    sys.meta_path.insert(0, finder)
    try:
        yield
    finally:
        sys.meta_path.remove(finder)


def migrate(store: Store) -> None:
    """Migrate an embedded store with another schema. Other processes wait meanwhile.

    The database file itself holds the fingerprint of its schema (`user_version`). So a current
    store costs one read, and a store that was removed and created again is noticed.
    """
    wanted = fingerprint()
    if version_of(store) == wanted:
        return
    if store.is_read_only:
        raise CliError(
            f"{store.database} has the tables of another release and is read-only.",
            hint="Make it writable, or read it with the release that wrote it.",
        )
    store.prepare()
    with store.lock():
        if version_of(store) == wanted:
            return
        from django.core.management import call_command

        call_command("migrate", verbosity=0, interactive=False)
        with closing(sqlite3.connect(store.database, timeout=30)) as database_file:
            database_file.execute(f"PRAGMA user_version = {wanted}")


def version_of(store: Store) -> int | None:
    """Return the fingerprint of a store's schema; None without a database."""
    if not store.database.exists():
        return None
    with closing(sqlite3.connect(store.address, timeout=30, uri=True)) as database_file:
        return int(database_file.execute("PRAGMA user_version").fetchone()[0])


def sweep(store: Store) -> None:
    """Sweep up to 100 rows, at most once in 10 s, because a laptop runs no sweeper (R21)."""
    mark = store.home / "swept"
    if store.is_read_only:
        return
    if mark.exists() and abs(time.time() - mark.stat().st_mtime) < SWEEP_SECONDS:
        return
    mark.touch(mode=0o600)
    if _faults(CONFIGURATION.require_usable):
        # A command that needs the configuration reports the faults itself.
        return
    try:
        for duty in embedded.duties:
            duty(limit=SWEEP_LIMIT)
    except Exception:
        # The command must not fail because of other due work.
        logger.exception("sweep failed", extra={"event": "sweep_failed"})


def faults_of(path: str) -> list[str]:
    """Return what is wrong with a configuration file or folder: `file:line: key: words`.

    It is read with the other files of this machine's configuration, and needs no store.
    """
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "hopper.settings")
    if not apps.ready:
        django.setup()
    return _faults(lambda: CONFIGURATION.candidate(Path(path)))


def _faults(read: Callable[[], object]) -> list[str]:
    """Return the faults for which `read` cannot read the configuration."""
    try:
        read()
    except BrokenConfig as error:
        return [str(problem) for problem in error.problems]
    return []


def fingerprint() -> int:
    """Return a number that changes with the migrations there are (ours, and the libraries')."""
    top = Path(__file__).resolve().parents[2]
    names = sorted(
        f"{room}/{file.name}"
        for room in ROOMS
        for file in (top / room / "migrations").glob("[0-9]*.py")
    )
    return zlib.crc32("\n".join([django.__version__, *names]).encode()) & 0x7FFFFFFF or 1
