"""The token of a lease is nowhere in the database: it derives from the key of the site (R21)."""

from __future__ import annotations

import io
from typing import Any

import pytest
from django.core.management import call_command
from django.db import connection

from instances.models import Attempt, HopperInstance, IdempotencyRecord
from tests.api.conftest import Caller
from tests.factories import TaskFactory

pytestmark = pytest.mark.unmeasured

CLAIM = {"worker": "w"}


def everything_stored() -> str:
    """Return the values of all rows of all tables as one text."""
    found = []
    with connection.cursor() as cursor:
        for table in connection.introspection.table_names(cursor):
            cursor.execute(f'SELECT * FROM "{table}"')
            found += [str(value) for row in cursor.fetchall() for value in row]
    return "\n".join(found)


def dumped() -> str:
    out = io.StringIO()
    call_command("dumpdata", stdout=out)
    return out.getvalue()


@pytest.fixture
def web_run(tree: dict[str, HopperInstance]) -> HopperInstance:
    TaskFactory(instance=tree["web-run"])
    return tree["web-run"]


def test_no_row_and_no_dump_holds_a_lease_token(ada: Caller, web_run: HopperInstance) -> None:
    answer = ada.tell("/instances/web-run/claim", CLAIM, **{"Idempotency-Key": "k"})
    (task,) = answer["tasks"]
    token = task["lease"]["token"]
    again = ada.tell(f"/tasks/{task['id']}/claim", CLAIM, **{"Idempotency-Key": "k2"})
    assert again["lease"]["token"] == token
    ada.tell(f"/tasks/{task['id']}/heartbeat", {"token": token}, **{"Idempotency-Key": "k3"})
    secret = token.partition(".")[2]
    assert len(secret) == 24
    assert secret not in everything_stored()
    assert secret not in dumped()


@pytest.mark.parametrize("path", ["/instances/web-run/claim", "/tasks/ID/claim"])
def test_a_claim_repeated_with_its_key_returns_the_same_token(
    ada: Caller, web_run: HopperInstance, path: str
) -> None:
    path = path.replace("ID", web_run.tasks.get().pk)
    first = ada.tell(path, CLAIM, **{"Idempotency-Key": "k"})
    again = ada.tell(path, CLAIM, **{"Idempotency-Key": "k"})
    assert again == first
    assert "token" in str(first)


def test_a_body_of_a_person_that_looks_like_a_claim_is_kept_as_it_is(
    ada: Caller, tree: dict[str, HopperInstance]
) -> None:
    context = {"lease": {"token": "mine"}, "tasks": [{"lease": {"token": "mine"}}]}
    body = {"title": "x", "context": context}
    first = ada.tell("/tasks", body, 201, **{"Idempotency-Key": "k"})
    assert ada.tell("/tasks", body, 201, **{"Idempotency-Key": "k"}) == first
    assert first["context"] == context


def claimed(caller: Caller) -> tuple[str, str]:
    (task,) = caller.tell("/instances/web-run/claim", CLAIM)["tasks"]
    return task["id"], task["lease"]["token"]


def test_a_lease_outlives_a_new_key_as_long_as_the_old_one_is_known(
    ada: Caller, web_run: HopperInstance, settings: Any
) -> None:
    task_id, token = claimed(ada)
    settings.SECRET_KEY_FALLBACKS, settings.SECRET_KEY = [settings.SECRET_KEY], "another key"
    ada.tell(f"/tasks/{task_id}/heartbeat", {"token": token})
    anew = ada.tell(f"/tasks/{task_id}/claim", CLAIM)["lease"]["token"]
    assert anew != token
    ada.tell(f"/tasks/{task_id}/heartbeat", {"token": anew})
    settings.SECRET_KEY_FALLBACKS = []
    ada.tell(f"/tasks/{task_id}/heartbeat", {"token": token}, 409)
    ada.tell(f"/tasks/{task_id}/complete", {"token": anew})


def test_a_token_fits_one_attempt_of_one_task(ada: Caller, web_run: HopperInstance) -> None:
    other = TaskFactory(instance=web_run)
    task_id, token = claimed(ada)
    ada.tell(f"/tasks/{other.pk}/claim", CLAIM)
    ada.tell(f"/tasks/{other.pk}/heartbeat", {"token": token}, 409)
    ada.tell(f"/tasks/{task_id}/release", {"token": token})
    assert claimed(ada) != (task_id, token)
    ada.tell(f"/tasks/{task_id}/heartbeat", {"token": token}, 409)


@pytest.mark.parametrize(
    "token", ["", ".", "1.", "1", "-1.x", "9" * 20 + ".x", "٣.x", "1.\ud7ff", "01.x"]
)
def test_a_text_that_is_no_token_fits_nothing(
    ada: Caller, web_run: HopperInstance, token: str
) -> None:
    task_id, _ = claimed(ada)
    assert Attempt.objects.of_lease(task_id, token) is None


def test_a_kept_answer_names_its_leases_without_their_tokens(
    ada: Caller, web_run: HopperInstance
) -> None:
    ada.tell("/instances/web-run/claim", CLAIM, **{"Idempotency-Key": "k"})
    (task,) = IdempotencyRecord.objects.get().body["tasks"]
    assert (task["lease"]["attempt"], task["lease"]["token"]) == (1, None)
