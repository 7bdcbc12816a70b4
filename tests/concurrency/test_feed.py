"""A reader who polls a feed sees every committed event once and in order, whoever writes (R17)."""

from __future__ import annotations

import threading
import time
from collections import defaultdict
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest
from django.contrib.auth import get_user_model
from django.db import connection, transaction
from django.test import Client

from instances.history import feed, stamp, stamp_all
from instances.models import AgentToken, Event
from tests.concurrency.crowd import crowd
from tests.factories import InstanceFactory, TaskFactory
from tests.soundness import unsound

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager
    from pathlib import Path

    from instances.models import HopperInstance

pytestmark = [pytest.mark.storm, pytest.mark.django_db(transaction=True)]

WRITERS = 16


@pytest.fixture
def run(transactional_db: None) -> HopperInstance:
    """A queue with room for all."""
    many = {"max_queued_tasks": 100_000}
    project = InstanceFactory(scope="PROJECT", name="project", config=many)
    made: HopperInstance = InstanceFactory(
        scope="ORCHESTRATION", parent=project, name="run", config=many
    )
    return made


@pytest.fixture
def secret(transactional_db: None) -> str:
    """The secret of a token that sees everything."""
    user = get_user_model().objects.create(username="ada")
    _, secret = AgentToken.objects.create(user, name="ada", role="admin", instance=None)
    return str(secret)


def test_three_pollers_beside_sixteen_writers_miss_nothing(
    child_environ: dict[str, str],
    storm: Callable[[int, int], int],
    run: HopperInstance,
    secret: str,
    tmp_path: Path,
) -> None:
    shared = [TaskFactory(instance=run).pk for _ in range(6)]
    rounds = storm(12, 200)
    writers = [(str(tmp_path), run.pk, shared, rounds)] * WRITERS
    feeds = [("/events", 7), ("/events", 500), ("/instances/run/events", 50)]
    readers = [(str(tmp_path), secret, path, limit, WRITERS) for path, limit in feeds]

    results = crowd(child_environ, "tests.concurrency.test_feed:act", [*writers, *readers])

    *everywhere, of_run = results[WRITERS:]
    stamp_all()
    whole = list(feed(Event.objects.all()).values_list("number", flat=True))
    assert whole == list(range(whole[0], whole[0] + len(whole))), "a gap"
    assert len(whole) > WRITERS * rounds / 4
    for seen in everywhere:
        assert [event["id"] for event in seen] == whole
        _assert_in_order(seen)
    own = feed(Event.objects.of_instance("run")).values_list("number", flat=True)
    assert [event["id"] for event in of_run] == list(own)
    assert unsound() == []


def act(*arguments: Any) -> Any:
    """Be a writer or a reader, as the number of arguments says."""
    from tests.concurrency import feeding

    return feeding.write(*arguments) if len(arguments) == 4 else feeding.poll(*arguments)


def _assert_in_order(seen: list[dict[str, Any]]) -> None:
    """Assert that each event of a task found the task as the event before it had left it."""
    status: dict[str, str] = defaultdict(str)
    for event in seen:
        if task_id := event["task_id"]:
            assert event["before"] in ("", status[task_id]), event
            status[task_id] = event["status"]


@pytest.mark.postgres
def test_events_of_an_open_transaction_come_when_it_commits(
    run: HopperInstance, secret: str
) -> None:
    written, go_on = threading.Event(), threading.Event()

    def write_slowly() -> None:
        with transaction.atomic():
            TaskFactory(instance=run, title="slow")
            written.set()
            go_on.wait(60)
        connection.close()

    client = Client(HTTP_AUTHORIZATION=f"Bearer {secret}", HTTP_HOST="localhost")

    def poll(after: int) -> list[dict[str, Any]]:
        rows: list[dict[str, Any]] = client.get(f"/api/v1/events?after={after}").json()["results"]
        return rows

    before = poll(0)[-1]["id"]
    slow = threading.Thread(target=write_slowly)
    slow.start()
    try:
        assert written.wait(60)
        quick = TaskFactory(instance=run, title="quick")
        (seen,) = poll(before)
        assert seen["task_id"] == quick.pk
        assert poll(seen["id"]) == []
    finally:
        go_on.set()
        slow.join()
    (late,) = poll(seen["id"])
    assert (late["kind"], late["id"]) == ("task.created", seen["id"] + 1)


@contextmanager
def _open_transaction(database: str) -> Iterator[None]:
    """Hold a transaction of somebody else open, with a number and a write, in a database."""
    other = connection.copy()
    other.settings_dict = {**other.settings_dict, "NAME": database}
    try:
        other.set_autocommit(False)
        with other.cursor() as cursor:
            # Somebody else does not have Hopper's settings.
            cursor.execute("SET idle_in_transaction_session_timeout = 0")
            cursor.execute("CREATE TABLE foreign_work (id integer)")
            cursor.execute("SELECT pg_current_xact_id()")
        yield
    finally:
        other.rollback()
        other.close()


@contextmanager
def _here() -> Iterator[None]:
    with _open_transaction(str(connection.settings_dict["NAME"])):
        yield


@contextmanager
def _in_another_database() -> Iterator[None]:
    with connection.cursor() as cursor:
        cursor.execute("CREATE DATABASE foreign_work")
    try:
        with _open_transaction("foreign_work"):
            yield
    finally:
        with connection.cursor() as cursor:
            cursor.execute("DROP DATABASE foreign_work WITH (FORCE)")


@contextmanager
def _prepared() -> Iterator[None]:
    with connection.cursor() as cursor:
        cursor.execute("SHOW max_prepared_transactions")
        if cursor.fetchone() == ("0",):
            pytest.skip("the server prepares no transactions")
        cursor.execute("BEGIN")
        cursor.execute("CREATE TABLE foreign_work (id integer)")
        cursor.execute("PREPARE TRANSACTION 'foreign_work'")
    try:
        yield
    finally:
        with connection.cursor() as cursor:
            cursor.execute("ROLLBACK PREPARED 'foreign_work'")


@pytest.mark.postgres
@pytest.mark.parametrize("somebody", [_here, _in_another_database, _prepared])
def test_a_foreign_transaction_delays_no_event(
    somebody: Callable[[], AbstractContextManager[None]],
    run: HopperInstance,
    secret: str,
    storm: Callable[[int, int], int],
) -> None:
    client = Client(HTTP_AUTHORIZATION=f"Bearer {secret}", HTTP_HOST="localhost")
    after, until = 0, time.monotonic() + storm(0, 60)
    with somebody():
        while True:
            made = TaskFactory(instance=run)
            answer = client.get(f"/api/v1/events?after={after}&limit=500").json()["results"]
            assert answer[-1]["task_id"] == made.pk
            after = answer[-1]["id"]
            if time.monotonic() > until:
                break
            time.sleep(0.2)


@pytest.mark.postgres
def test_a_reader_does_not_wait_for_one_who_stamps(run: HopperInstance, secret: str) -> None:
    stamped, go_on = threading.Event(), threading.Event()

    def stamp_slowly() -> None:
        with transaction.atomic():
            stamp()
            stamped.set()
            go_on.wait(60)
        connection.close()

    client = Client(HTTP_AUTHORIZATION=f"Bearer {secret}", HTTP_HOST="localhost")
    slow = threading.Thread(target=stamp_slowly)
    slow.start()
    try:
        assert stamped.wait(60)
        assert client.get("/api/v1/events").json()["results"] == []
    finally:
        go_on.set()
        slow.join()
    assert client.get("/api/v1/events").json()["results"] != []
