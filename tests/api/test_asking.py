"""Rights and bodies of questions and answers over HTTP (R11)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

    from instances.models import HopperInstance
    from tests.api.conftest import Caller

Tree = dict[str, "HopperInstance"]
WHICH = {"question": "MIT or Apache?", "choices": ["MIT", "Apache"]}


@pytest.fixture
def claimed(ada: Caller, tree: Tree) -> tuple[str, str]:
    """A task at web-run, and the token of the lease on it."""
    pk: str = ada.tell("/tasks", {"title": "t", "instance_id": "web-run"}, status=201)["id"]
    return pk, ada.tell(f"/tasks/{pk}/claim", {"worker": "bob"})["lease"]["token"]


def test_the_token_of_the_lease_alone_may_ask(
    ada: Caller, nobody: Caller, claimed: tuple[str, str]
) -> None:
    pk, token = claimed
    lease = {"Authorization": f"Lease {token}"}
    assert nobody.tell(f"/tasks/{pk}/ask", WHICH, **lease)["status"] == "blocked"
    assert nobody.tell(f"/tasks/{pk}/ask", WHICH, **lease)["status"] == "blocked"
    (question,) = ada.ask(f"/tasks/{pk}/questions")["results"]
    assert (question["asked_by"], question["attempt"], question["state"]) == ("bob", 1, "open")


def test_without_a_lease_an_operator_asks_and_no_worker(
    caller: Callable[..., Caller], tree: Tree, claimed: tuple[str, str]
) -> None:
    pk, _ = claimed
    worker = caller("will", "worker", tree["web"])
    assert worker.tell(f"/tasks/{pk}/ask", WHICH, status=403)["role"] == "operator"
    operator = caller("otto", "operator", tree["web"])
    assert operator.tell(f"/tasks/{pk}/ask", WHICH)["waiting_on"]["code"] == "InputRequired"


def test_an_operator_at_the_holder_or_above_answers_and_nobody_else(
    ada: Caller, caller: Callable[..., Caller], tree: Tree, claimed: tuple[str, str]
) -> None:
    pk, token = claimed
    ada.tell(f"/tasks/{pk}/ask", {**WHICH, "token": token})
    question = ada.ask(f"/tasks/{pk}")["questions"][0]["id"]
    body = {"question_id": question, "answer": "MIT"}
    caller("will", "worker", tree["web"]).tell(f"/tasks/{pk}/answer", body, status=403)
    caller("oona", "operator", tree["ops"]).tell(f"/tasks/{pk}/answer", body, status=404)
    otto = caller("otto", "operator", tree["web"])
    wrong = {"question_id": question, "answer": "BSD"}
    assert otto.tell(f"/tasks/{pk}/answer", wrong, status=400)["errors"][0]["field"] == "answer"
    answered = otto.tell(f"/tasks/{pk}/answer", body)
    assert (answered["status"], answered["questions"][0]["answered_by"]) == ("pending", "otto")
    assert otto.tell(f"/tasks/{pk}/answer", body)["status"] == "pending"
    other = {"question_id": question, "answer": "Apache"}
    refusal = otto.tell(f"/tasks/{pk}/answer", other, status=409)
    assert (refusal["code"], refusal["answer"]) == ("question_closed", "MIT")


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "question"),
        ({"question": " "}, "question"),
        ({"question": "?", "choices": "MIT"}, "choices"),
        ({"question": "?", "timeout_seconds": 0}, "timeout_seconds"),
        ({"question": "?", "choices": ["a"], "default": "b"}, "default"),
        ({"question": "?", "chocies": []}, "chocies"),
    ],
)
def test_a_wrong_body_is_named_by_its_field(
    ada: Caller, claimed: tuple[str, str], body: dict[str, object], field: str
) -> None:
    pk, token = claimed
    refusal = ada.tell(f"/tasks/{pk}/ask", {**body, "token": token}, status=400)
    assert field in {error["field"].split(".")[0] for error in refusal["errors"]}
    assert ada.ask(f"/tasks/{pk}")["status"] == "claimed"
