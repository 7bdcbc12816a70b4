"""The transport without a server: the WSGI application called in this process.

The one module of the command line that knows Django; it is loaded by name.
"""

from __future__ import annotations

import io
import json
import logging
import os
import sqlite3
import sys
import time
import zlib
from contextlib import closing, contextmanager
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, cast
from urllib.parse import unquote

import django
from django.apps import apps
from django.conf import settings
from django.core.handlers.wsgi import WSGIHandler
from django.core.signals import request_finished, request_started
from django.db import OperationalError, close_old_connections, connection
from django.urls import include, path
from django.utils.functional import cached_property
from django.utils.module_loading import import_string

from hopper.cli.arguments import user_name
from hopper.cli.transport import PREFIX, CliError, Params, Reply, query
from hopper.embedded import Store

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from django.urls import URLPattern, URLResolver

logger = logging.getLogger(__name__)

OPERATOR_KEY = "hopper.local_operator"
SWEEP_SECONDS = 10
SWEEP_LIMIT = 100
SQLITE = "django.db.backends.sqlite3"
ROOMS = ("instances", "scopes", "delegation")
FOR_BROWSERS = frozenset(
    {
        "django.contrib.admin",
        "django.contrib.messages",
        "django.contrib.sessions",
        "django.contrib.staticfiles",
        "drf_spectacular",
        "drf_spectacular_sidecar",
    }
)

OPTIONAL_TO_DRF = ("django.contrib.postgres.fields", "requests", "pygments", "yaml")
NO_SCHEMA = "rest_framework.schemas.inspectors.ViewInspector"


class ApiHandler(WSGIHandler):
    """The application without what only browsers need: files, sessions, redirects."""

    def load_middleware(self, is_async: bool = False) -> None:
        """Load our own middleware alone: the rest would cost a command half its time."""
        everything = settings.MIDDLEWARE
        settings.MIDDLEWARE = [name for name in everything if name.startswith("hopper.")]
        try:
            super().load_middleware(is_async)
        finally:
            settings.MIDDLEWARE = everything


class LocalTransport:
    """Calls the application as the local operator: a key in the environ that no header can set."""

    def __init__(self) -> None:
        self._application = ApiHandler()
        self._host = next(
            (host for host in settings.ALLOWED_HOSTS if host[:1] not in (".", "*")), "localhost"
        )

    def request(
        self, method: str, path: str, *, params: Params | None = None, body: Any = None
    ) -> Reply:
        """Return the application's answer to one call."""
        payload = b"" if body is None else json.dumps(body).encode()
        environ = {
            "REQUEST_METHOD": method,
            "SCRIPT_NAME": "",
            "PATH_INFO": unquote(f"{PREFIX}{path}", "utf-8").encode().decode("latin-1"),
            "QUERY_STRING": query(params).removeprefix("?"),
            "CONTENT_TYPE": "application/json",
            "CONTENT_LENGTH": str(len(payload)),
            "HTTP_ACCEPT": "application/json",
            "HTTP_HOST": self._host,
            "SERVER_NAME": self._host,
            "SERVER_PORT": "80",
            "SERVER_PROTOCOL": "HTTP/1.1",
            "REMOTE_ADDR": "127.0.0.1",
            "wsgi.version": (1, 0),
            "wsgi.url_scheme": "https" if settings.SECURE_SSL_REDIRECT else "http",
            "wsgi.input": io.BytesIO(payload),
            "wsgi.errors": sys.stderr,
            "wsgi.multithread": False,
            "wsgi.multiprocess": True,
            "wsgi.run_once": False,
            OPERATOR_KEY: user_name(),
        }
        answered: list[int] = []

        def start_response(status: str, headers: object, exc_info: object = None) -> None:
            answered.append(int(status.split(" ", 1)[0]))

        with connection_kept():
            response: Iterable[bytes] = self._application(environ, cast("Any", start_response))
            with closing(cast("Any", response)):
                data = b"".join(response)
        return Reply(answered[-1], _decoded(data, answered[-1]))


@contextmanager
def connection_kept() -> Iterator[None]:
    """Keep Django from closing the connection of a caller who is inside a transaction."""
    ends = (request_started, request_finished) if connection.in_atomic_block else ()
    for signal in ends:
        signal.disconnect(close_old_connections)
    try:
        yield
    finally:
        for signal in ends:
            signal.connect(close_old_connections)


def _decoded(data: bytes, status: int) -> Any:
    try:
        return json.loads(data) if data else None
    except ValueError:
        return {"detail": f"Hopper answered {status} without saying why; see its log."}


def open_transport() -> LocalTransport:
    """Return the transport on the configured database, made and migrated where it is our own."""
    store = set_up()
    if store is not None:
        sweep(store)
    # A refusal is told to the caller; Django's log would say it on stderr a second time.
    log = logging.getLogger("django.request")
    log.setLevel(logging.ERROR)
    log.addFilter(_is_failure)
    return LocalTransport()


def _is_failure(record: logging.LogRecord) -> bool:
    return bool(record.exc_info)


def set_up(*, whole: bool = False) -> Store | None:
    """Load Django, as much as the REST interface needs or the `whole`, where nobody has yet.

    An embedded store is brought to the newest schema and returned.
    """
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "hopper.settings")
    try:
        store = embedded_store()
        if not apps.ready:
            if not whole and store is not None and version_of(store) == fingerprint():
                leave_out_what_browsers_need()
            django.setup()
        return prepare()
    except (OSError, sqlite3.Error, OperationalError) as error:
        raise CliError(
            f"The store of this machine cannot be used: {error}.",
            hint="See `hopper config show` for where it is; HOPPER_HOME moves it.",
        ) from error


def prepare() -> Store | None:
    """Bring an embedded store to the newest schema and return it; None for any other database."""
    store = embedded_store()
    if store is not None:
        migrate(store)
    return store


def embedded_store() -> Store | None:
    """Return the store that the settings name; None for a server's database."""
    database = settings.DATABASES["default"]
    # A caller inside a transaction (a test) has a schema, and holds the lock that migrating needs.
    if database["ENGINE"] != SQLITE or (apps.ready and connection.in_atomic_block):
        return None
    return Store(Path(database["NAME"]))


def leave_out_what_browsers_need() -> None:
    """Make this process load the REST interface alone: a third of the time of all there is."""
    settings.INSTALLED_APPS = [name for name in settings.INSTALLED_APPS if name not in FOR_BROWSERS]
    settings.ROOT_URLCONF = Addresses()
    settings.REST_FRAMEWORK = {**settings.REST_FRAMEWORK, "DEFAULT_SCHEMA_CLASS": NO_SCHEMA}
    # DRF loads whatever it could make use of, the PostgreSQL driver first of all.
    unneeded = [name for name in OPTIONAL_TO_DRF if name not in sys.modules]
    sys.modules.update(dict.fromkeys(unneeded, cast("Any", None)))
    import_module("rest_framework.compat")
    for name in unneeded:
        del sys.modules[name]
    # Of all the admin it wants one function, for a schema that is never drawn here.
    pages = ModuleType("django.contrib.admindocs.views")
    pages.__dict__["simplify_regex"] = None
    sys.modules.setdefault(pages.__name__, pages)


class Addresses:
    """The addresses of the REST interface, without admin, schema and page."""

    @cached_property
    def urlpatterns(self) -> list[URLPattern | URLResolver]:
        """Return them; read at the first call, when the apps are loaded."""
        return [path(PREFIX[1:] + "/", include(f"{room}.api.urls")) for room in ROOMS]


def migrate(store: Store) -> None:
    """Migrate an embedded store that is not of this schema; others wait until it is.

    The schema's fingerprint stands in the database file itself (`user_version`), so that a
    current store costs one look and a store that was removed and made anew is seen as such.
    """
    wanted = fingerprint()
    if version_of(store) == wanted:
        return
    store.prepare()
    with store.lock():
        if version_of(store) == wanted:
            return
        from django.core.management import call_command

        call_command("migrate", verbosity=0, interactive=False)
        with closing(sqlite3.connect(store.database, timeout=30)) as database_file:
            database_file.execute(f"PRAGMA user_version = {wanted}")


def version_of(store: Store) -> int | None:
    """Return the fingerprint of the schema that a store has; None where there is no database."""
    if not store.database.exists():
        return None
    with closing(sqlite3.connect(store.database, timeout=30)) as database_file:
        return int(database_file.execute("PRAGMA user_version").fetchone()[0])


def sweep(store: Store) -> None:
    """Do a little of what is due, at most once in 10 s: on a laptop no sweeper runs (R21)."""
    mark = store.home / "swept"
    if mark.exists() and abs(time.time() - mark.stat().st_mtime) < SWEEP_SECONDS:
        return
    mark.touch()
    if _faults(lambda configuration: configuration.current()):
        # The command itself tells it, where it needs one.
        return
    try:
        # By name: what a sweep does is known to the room at the top alone.
        import_string("delegation.sweep.sweep")(limit=SWEEP_LIMIT)
    except Exception:
        # The command itself must not fail because something else is due.
        logger.exception("sweep failed", extra={"event": "sweep_failed"})


def faults_of(path: str) -> list[str]:
    """Return what is wrong with a configuration file or folder: `file:line: key: words`.

    It is read with the other files of this machine's configuration, and needs no store.
    """
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "hopper.settings")
    if not apps.ready:
        django.setup()
    return _faults(lambda configuration: configuration.candidate(Path(path)))


def _faults(read: Callable[[Any], object]) -> list[str]:
    """Return the faults for which the configuration cannot be read as `read` does."""
    configuration = import_string("hopper.config.files.CONFIGURATION")
    broken = import_string("hopper.config.document.BrokenConfig")
    try:
        read(configuration)
    except broken as error:
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


def call(command: str, arguments: Sequence[str]) -> None:
    """Run a management command on the configured database with its own output."""
    from django.core.management import CommandError, call_command

    set_up(whole=True)
    try:
        call_command(command, *arguments)
    except CommandError as error:
        raise CliError(str(error)) from error
