"""A store made by commit f982b2f, with its data, is upgraded and works on.

`populate.py` made the stores. Times in them are moved to the present before the upgrade, so that
leases are live and keyed answers kept.
"""

from __future__ import annotations

import gzip
import io
import json
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing, redirect_stderr
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django.core.management import call_command
from django.db import connection
from django.utils import timezone
from rest_framework.test import APIClient

from delegation.audit import audit
from delegation.delegator import Delegator
from delegation.models import TaskDelegation
from instances.lifecycle.actions import resume_instance
from instances.models import AgentToken, Attempt, HopperInstance, Lesson, Task
from instances.tasks.worker import claim_next, claim_task, complete_task, heartbeat
from tests.factories import ALICE

HERE = Path(__file__).parent
PLACE = "upgraded"
Known = dict[str, Any]
OnCommit = Callable[..., AbstractContextManager[Any]]

pytestmark = [pytest.mark.unmeasured, pytest.mark.django_db]


def _load(known: Known) -> None:
    """Fill the empty database with the old store, its times moved to the present."""
    text = gzip.decompress((HERE / f"{connection.vendor}.sql.gz").read_bytes()).decode()
    age = (timezone.now() - datetime.fromisoformat(known["moment"])).total_seconds()
    if connection.vendor == "sqlite":
        # A plain connection, because Django's asks for the rows that keys refer to at once.
        with closing(sqlite3.connect(connection.settings_dict["NAME"])) as plain:
            plain.executescript(text)
    with connection.cursor() as cursor:
        if connection.vendor != "sqlite":
            cursor.execute(text)
        for table in connection.introspection.table_names(cursor):
            for column in connection.introspection.get_table_description(cursor, table):
                kind = connection.introspection.get_field_type(column.type_code, column)
                if kind == "DateTimeField":
                    cursor.execute(_later(table, column.name), [age])


def _later(table: str, column: str) -> str:
    """Return the statement that moves a column's times by a number of seconds."""
    if connection.vendor == "sqlite":
        moved = f"strftime('%%Y-%%m-%%d %%H:%%M:%%f', {column}, %s || ' seconds')"
    else:
        moved = f"{column} + make_interval(secs => %s)"
    return f"UPDATE {table} SET {column} = {moved} WHERE {column} IS NOT NULL"


def _live_tokens() -> dict[str, str]:
    """Return the tokens of the live leases by their tasks. The old store holds them in clear."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT id, lease_token FROM instances_task WHERE lease_token IS NOT NULL")
        return dict(cursor.fetchall())


def _structure() -> dict[str, Any]:
    """Return the columns of each table, and what its constraints and indexes are about."""
    found = {}
    with connection.cursor() as cursor:
        inspect = connection.introspection
        for table in inspect.django_table_names(only_existing=True):
            columns = inspect.get_table_description(cursor, table)
            rules = inspect.get_constraints(cursor, table).values()
            found[table] = (
                {(column.name, column.null_ok) for column in columns},
                {(*(rule["columns"] or ()), rule["unique"], rule["check"]) for rule in rules},
            )
    return found


@pytest.fixture(scope="module")
def fresh(django_db_setup: None, django_db_blocker: Any) -> dict[str, Any]:
    """The structure of a database that never was another version's."""
    with django_db_blocker.unblock():
        return _structure()


@pytest.fixture(scope="module")
def known(
    fresh: dict[str, Any], django_db_blocker: Any, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Known]:
    """Facts of the old store; meanwhile the connection leads to the upgraded one."""
    story: Known = json.loads((HERE / f"{connection.vendor}.json").read_text())
    usual = str(connection.settings_dict["NAME"])
    with django_db_blocker.unblock():
        if connection.vendor == "sqlite":
            name = str(tmp_path_factory.mktemp(PLACE) / "hopper.db")
        else:
            name = f"{PLACE}_{usual}"
            _server(f"CREATE DATABASE {name} TEMPLATE template0")
        _turn_to(name)
        try:
            _load(story)
            story["leases"] = _live_tokens()
            with redirect_stderr(io.StringIO()) as told:
                call_command("migrate", verbosity=0, interactive=False)
            story["told"] = told.getvalue()
            yield story
        finally:
            _turn_to(usual)
            if connection.vendor != "sqlite":
                _server(f"DROP DATABASE {name}")


def _server(statement: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute(statement)


def _turn_to(name: str) -> None:
    connection.close()
    connection.settings_dict["NAME"] = name


@pytest.fixture(autouse=True)
def _upgraded(known: Known, db: None) -> None:
    """Let each test see the upgraded store as it was, whatever another did."""


def task(title: str) -> Task:
    return Task.objects.get(title=title)


def test_the_schema_is_that_of_a_new_store(fresh: dict[str, Any]) -> None:
    assert _structure() == fresh


def test_every_row_is_there_and_every_invariant_holds(known: Known) -> None:
    rows = Task.objects.values_list("title", "status", "instance_id", "offered_to_id")
    assert sorted(map(list, rows)) == known["tasks"]
    assert Lesson.objects.get().description == "ä"
    assert audit() == []


def test_instances_whose_names_clash_are_all_there(known: Known) -> None:
    clashing = {"web": "Web", "web-two": "web", "ops": "WEB", "ops-two": "ops"}
    found = HopperInstance.objects.in_bulk(list(clashing))
    assert {pk: instance.name for pk, instance in found.items()} == clashing


def test_the_upgrade_says_which_names_clash_and_attention_lists_them(known: Known) -> None:
    others = {"web-two": "'web'", "ops": "'WEB'"}
    lines = [
        f"{pk}: the name {name} means web ('Web'), which is older; "
        f"rename it: hopper instance update {pk} --name NAME"
        for pk, name in others.items()
    ]
    assert known["told"].splitlines() == lines
    _, secret = AgentToken.objects.create(
        get_user_model().objects.create(username="admin"), name="admin", role="admin"
    )
    admin = APIClient(headers={"Authorization": f"Bearer {secret}"})
    told = admin.get("/api/v1/attention").json()
    assert told["counts"]["name_clashes"] == len(others)
    rows = [row for group in told["groups"] for row in group["instances"]]
    assert {row["instance_id"] for row in rows if row["code"] == "NameClash"} == set(others)
    assert admin.patch("/api/v1/instances/ops", {"name": "Site"}, format="json").status_code == 200
    assert admin.get("/api/v1/attention").json()["counts"]["name_clashes"] == 1


@pytest.mark.parametrize("title", ["leased", "started"])
def test_a_live_lease_is_extended_and_completed_with_its_token(known: Known, title: str) -> None:
    leased = task(title)
    token = known["leases"][leased.pk]
    heartbeat(leased.pk, token=token, actor=ALICE)
    assert complete_task(leased.pk, token=token, actor=ALICE).status == "done"
    assert audit() == []


def test_no_token_of_a_lease_is_left_in_the_store(known: Known) -> None:
    assert set(known["leases"]) == set(Task.objects.leased().values_list("pk", flat=True))
    for pk, token in known["leases"].items():
        attempt = Attempt.objects.get(task=pk, outcome=None)
        assert token not in Attempt.objects.values_list("lease_digest", flat=True)
        assert attempt.has_token(token)


def test_a_claim_repeated_after_the_upgrade_gets_a_token_that_works(known: Known) -> None:
    leased = task("leased")
    lease = claim_task(leased.pk, worker="bob", actor=ALICE)
    for token in (lease.token, known["leases"][leased.pk]):
        heartbeat(leased.pk, token=token, actor=ALICE)


def test_names_that_one_actor_bore_get_its_id_and_others_get_none() -> None:
    owners = set(Task.objects.values_list("created_by", "created_by_id").distinct())
    assert owners == {("alice", "operator:alice"), ("ada", "")}, "two tokens are named ada"
    assert set(Task.objects.leased().values_list("lease_holder", flat=True)) == {"operator:alice"}
    lesson = Lesson.objects.get()
    assert (lesson.created_by_id, lesson.instance_id) == ("operator:alice", "web")


def test_a_key_is_unique_where_it_was(known: Known) -> None:
    keyed = Task.objects.get(pk=known["keyed"])
    assert (keyed.unique_key, keyed.unique_among) == ("only-once", "run")


def test_a_checkpoint_is_kept() -> None:
    assert Attempt.objects.get(task__title="started").checkpoint == {"at": 7}


def test_waiting_tasks_are_claimed_and_completed(
    django_capture_on_commit_callbacks: OnCommit,
) -> None:
    queued = task("queued")
    assert not task("dependent").ready
    lease = claim_task(queued.pk, worker="eve", actor=ALICE)
    with django_capture_on_commit_callbacks(execute=True):
        complete_task(queued.pk, token=lease.token, actor=ALICE)
    assert task("dependent").ready
    (lease,) = claim_next("run", worker="eve", actor=ALICE).leases
    complete_task(lease.task.pk, token=lease.token, actor=ALICE)
    assert audit() == []


def test_the_last_child_completes_its_parent(django_capture_on_commit_callbacks: OnCommit) -> None:
    with django_capture_on_commit_callbacks(execute=True):
        for title in ("child 1", "child 2"):
            lease = claim_task(task(title).pk, worker="eve", actor=ALICE)
            complete_task(lease.task.pk, token=lease.token, actor=ALICE)
    assert task("parent").status == "done"
    assert audit() == []


def test_a_waiting_offer_is_accepted(django_capture_on_commit_callbacks: OnCommit) -> None:
    offer = TaskDelegation.objects.get(task__title="offered", status="pending")
    resume_instance("paused", actor=ALICE)
    with django_capture_on_commit_callbacks(execute=True):
        Delegator(ALICE).accept_delegation(offer.pk)
    assert task("offered").instance_id == "paused"
    assert audit() == []


def test_a_request_repeated_with_its_key_gets_its_first_answer(known: Known) -> None:
    caller = APIClient(
        headers={"Authorization": f"Bearer {known['token']}", "Idempotency-Key": "k1"}
    )
    before = Task.objects.count()
    body = {"title": "keyed", "instance_id": "run", "unique_key": "only-once"}
    answer = caller.post("/api/v1/tasks", body, format="json")
    assert (answer.status_code, answer.json()["id"]) == (201, known["keyed"])
    assert answer.headers["Idempotent-Replayed"] == "true"
    assert Task.objects.count() == before
