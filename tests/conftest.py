"""Shared by every test: the choice of database, long and short storms, child processes."""

from __future__ import annotations

import gc
import os
from collections import Counter
from contextlib import contextmanager
from importlib import import_module
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import coverage
import pytest
import pytest_django
import time_machine
from django.apps import apps
from django.conf import settings
from django.db import connection
from django.test import TransactionTestCase
from django.utils import timezone

from hopper import database
from hopper.database import engine, functions
from hopper.protocol import EVENTS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

KEPT = {"django_content_type", "auth_permission"}
"""The tables that migrating fills, and no test writes."""
CASE = pytest.StashKey[int]()
"""The place of a test among the cases of its function."""
MEASURED_CASES = 100
WAITING = {"browser", "crash", "serving", "worker_lab"}
"""The folders of the tests that mostly wait for other processes."""
READING = {"architecture", "mutations"}
"""The folders of the tests that read the source, and run no line of it."""
POSTGRES = os.environ.get("HOPPER_TEST_DATABASE", "sqlite") == "postgres"


def pytest_report_header() -> str:
    """Name the database of this run above the results."""
    return f"hopper database: {'postgres' if POSTGRES else 'sqlite'}"


def pytest_configure() -> None:
    """Collect no garbage while the tests are found: all that is made then stays."""
    gc.disable()


def pytest_collection_finish() -> None:
    """Collect garbage from now on, but never look through what stays."""
    gc.freeze()
    gc.enable()


@pytest.hookimpl(wrapper=True)
def pytest_collection(session: pytest.Session) -> Iterator[object]:
    """Measure in one process what importing runs: it is the same in all of them."""
    if os.environ.get("PYTEST_XDIST_WORKER", "gw0") == "gw0":
        return (yield)
    with _unmeasured():
        return (yield)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Iterator[object]:
    """Stop measuring the coverage for a test that would show no new line."""
    if _shows_new_lines(item):
        return (yield)
    with _unmeasured():
        return (yield)


@contextmanager
def _unmeasured() -> Iterator[None]:
    """Measure no coverage meanwhile, neither here nor in the processes that are started."""
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("COVERAGE_PROCESS_CONFIG", raising=False)
        stopped = list(iter(_stop_measuring, None))
        try:
            yield
        finally:
            for measurement in reversed(stopped):
                measurement.start()


def _stop_measuring() -> coverage.Coverage | None:
    """Stop the newest measurement of this process, and return it; None where none runs.

    A worker of pytest-xdist has two: one as a child process, one by pytest-cov. The end of the
    newer one lets the older one go on.
    """
    if newest := coverage.Coverage.current():
        newest.stop()
    return newest


def _shows_new_lines(item: pytest.Item) -> bool:
    """Return whether to measure a test: measuring adds half of the time.

    Of the cases of one test, the first hundred are measured; of a storm, none. `unmeasured` says
    that other tests run the same lines. PostgreSQL repeats what was measured on SQLite.
    """
    if POSTGRES:
        return bool(item.get_closest_marker("postgres"))
    if item.stash[CASE] > MEASURED_CASES or item.path.parent.name in READING:
        return False
    return not any(map(item.get_closest_marker, ("storm", "unmeasured")))


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Skip, with the reason, what this run's database cannot show.

    What asks no database has been tried in the SQLite run. Tests that wait come first: the other
    workers compute meanwhile, and none is left alone with a long test at the end.
    """
    if POSTGRES:
        without = [item for item in items if not _asks_the_database(item)]
        config.hook.pytest_deselected(items=without)
        items[:] = [item for item in items if _asks_the_database(item)]
    items.sort(key=lambda item: item.path.parent.name not in WAITING)
    cases: Counter[str] = Counter()
    for item in items:
        name, _, _ = item.nodeid.partition("[")
        cases[name] += 1
        item.stash[CASE] = cases[name]
        if settings.POSTGRES_MISSING:
            item.add_marker(pytest.mark.skip(reason=settings.POSTGRES_MISSING))
        elif not POSTGRES and item.get_closest_marker("postgres"):
            item.add_marker(pytest.mark.skip(reason="needs PostgreSQL"))


def _asks_the_database(item: pytest.Item) -> bool:
    asks = {"db", "transactional_db", "django_db_setup"} & set(getattr(item, "fixturenames", ()))
    return bool(asks or item.get_closest_marker("django_db"))


@pytest.fixture(scope="session")
def django_db_setup(
    _one_clock: None, django_db_setup: None, django_db_blocker: pytest_django.DjangoDbBlocker
) -> None:
    """Keep the statements of the invariants while the database is empty."""
    with django_db_blocker.unblock():
        # A new connection has the settings that the migrations stored for the role.
        connection.close()
        import_module("tests.soundness").keep()


@pytest.fixture(scope="session", autouse=True)
def _patience() -> None:
    """Let all that follows a commit be done there, however slow this machine is."""
    database.AFTER_COMMIT_SECONDS = 600


@pytest.fixture(scope="session", autouse=True)
def _quick_flush() -> Iterator[None]:
    """Empty the tables row by row between tests, all but those that migrating fills.

    Django's own flush fills these again, which took longer than most tests; and TRUNCATE makes
    every table's files anew. The connection stays: PostgreSQL spent half of its time on making
    each new one read the catalogue and plan the audit.
    """
    patch = pytest.MonkeyPatch()
    patch.setattr(TransactionTestCase, "_fixture_teardown", _empty_tables)
    patch.setattr(TransactionTestCase, "_should_reload_connections", lambda case: False)
    yield
    patch.undo()


def _empty_tables(case: TransactionTestCase) -> None:
    tables = connection.introspection.django_table_names(include_views=False)
    quote = connection.ops.quote_name
    emptying = [f"DELETE FROM {quote(table)}" for table in tables if table not in KEPT]
    if connection.vendor == "sqlite":
        connection.ops.execute_sql_flush(emptying)
        return
    with connection.cursor() as cursor:
        # PostgreSQL takes all of it as one message and one transaction: a third of the time.
        cursor.execute("; ".join(["RESET ALL", *emptying]))


_CLOCK = """CREATE OR REPLACE FUNCTION clock_timestamp() RETURNS timestamptz LANGUAGE sql AS $$
    SELECT coalesce(nullif(current_setting('tests.now', true), '')::timestamptz,
        pg_catalog.clock_timestamp()) $$"""


@pytest.fixture(scope="session", autouse=True)
def _one_clock() -> None:
    """Let the database's clock go with this process's where time_machine moves that."""

    def moved() -> str:
        return timezone.now().isoformat() if time_machine.escape_hatch.is_travelling() else ""

    def clock(self: object) -> str:
        return f"'{moved()}'::timestamptz" if moved() else "clock_timestamp()"

    def store(*kept: functions.Function) -> None:
        stored(*kept)
        with connection.cursor() as cursor:
            cursor.execute(_CLOCK)
            for function in kept:
                cursor.execute(
                    f"ALTER FUNCTION {function.name} SET search_path = public, pg_catalog"
                )

    def call(function: functions.Function, *args: Any, **values: Any) -> Any:
        connection.ensure_connection()
        # The driver's own cursor: no test counts this statement.
        connection.connection.execute("SELECT set_config('tests.now', %s, false)", [moved()])
        return called(function, *args, **values)

    if connection.vendor == "postgresql":
        stored, called = functions.store, functions.Function.call
        patch = pytest.MonkeyPatch()
        patch.setattr(functions, "store", store)
        patch.setattr(functions.Function, "call", call)
        patch.setattr(type(engine()), "clock", property(clock))


@pytest.fixture(scope="session")
def storm() -> Callable[[int, int], int]:
    """`storm(short, long)`: how many rounds to run; the long number with HOPPER_STORM=1."""
    full = os.environ.get("HOPPER_STORM") == "1"
    return lambda short, long: long if full else short


@pytest.fixture(autouse=True)
def _nobody_has_looked() -> None:
    """Let the first claim of each test read its queue and look for lost leases; trees read anew.

    Names of instances and positions of events come again.
    """
    if apps.ready:
        import_module("instances.tasks.leases")._rescued.clear()
        import_module("instances.tasks.worker")._queues.clear()
        import_module("delegation.pages.watch").WATCH.forget()
        import_module("instances.api.instance_views")._tree_text.cache_clear()


@pytest.fixture
def sound() -> Iterator[None]:
    """End a test with the invariants, and with events of known kinds."""
    # Late, because this file is loaded before the apps are.
    from instances.models import Event
    from tests.soundness import unsound

    yield
    assert unsound() == []
    kinds = Event.objects.order_by().values_list("kind", flat=True).distinct()
    assert set(kinds) <= EVENTS.keys()


@pytest.fixture(scope="session")
def empty_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of an embedded store without rows; to make one takes three seconds."""
    from tests.cli.shell import Shell

    folder = tmp_path_factory.mktemp("empty")
    (folder / ".hopper").mkdir()
    Shell(folder).hopper("--local", "task", "list")
    return folder / ".hopper"


@pytest.fixture
def child_environ(transactional_db: None) -> dict[str, str]:
    """The environment in which a child process works on this test's database."""
    database = connection.settings_dict
    name = quote(str(database["NAME"]))
    if connection.vendor == "sqlite":
        url = f"sqlite:///{name}"
    else:
        user = quote(database["USER"]) + (
            ":" + quote(database["PASSWORD"], safe="") if database["PASSWORD"] else ""
        )
        host = database["HOST"] + (f":{database['PORT']}" if database["PORT"] else "")
        socket = database["OPTIONS"].get("host")
        url = f"postgres://{user}@{host}/{name}" + (f"?host={socket}" if socket else "")
    return {**os.environ, "HOPPER_DATABASE_URL": url, "DJANGO_SETTINGS_MODULE": "hopper.settings"}
