"""`hopper user` and `hopper migrate`: accounts of the admin site, and the newest schema."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django.core.management import CommandError, call_command
from django.test import Client

pytestmark = pytest.mark.django_db

Typed = Callable[[str], None]


def said(*arguments: str) -> str:
    out = io.StringIO()
    call_command(*arguments, stdout=out)
    return out.getvalue()


@pytest.fixture
def typed(monkeypatch: pytest.MonkeyPatch) -> Typed:
    """Let the next commands read this line from stdin."""

    def type_in(line: str) -> None:
        monkeypatch.setattr("sys.stdin", io.StringIO(f"{line}\n"))

    return type_in


def test_an_account_is_made_and_signs_in(typed: Typed) -> None:
    typed("correct horse battery")
    assert said("hopper_user", "create", "ada", "--password-stdin") == "Created account ada.\n"
    account = get_user_model().objects.get(username="ada")
    assert account.is_superuser
    assert account.check_password("correct horse battery")
    assert json.loads(said("hopper_user", "list", "--json"))[0]["name"] == "ada"
    typed("another horse battery")
    said("hopper_user", "password", "ada", "--password-stdin")
    account.refresh_from_db()
    assert account.check_password("another horse battery")


def test_a_new_password_ends_a_lock_out(typed: Typed, client: Client, settings: Any) -> None:
    settings.AXES_FAILURE_LIMIT = 1
    typed("correct horse battery")
    said("hopper_user", "create", "ada", "--password-stdin")
    form = {"username": "ada", "password": "wrong"}
    assert client.post("/admin/login/", form).status_code == 429
    typed("another horse battery")
    said("hopper_user", "password", "ada", "--password-stdin")
    form["password"] = "another horse battery"
    assert client.post("/admin/login/", form).status_code == 302


def test_a_weak_password_and_a_taken_name_are_refused(typed: Typed) -> None:
    typed("12345")
    with pytest.raises(CommandError, match="too short"):
        call_command("hopper_user", "create", "ada", "--password-stdin")
    typed("correct horse battery")
    said("hopper_user", "create", "ada", "--password-stdin")
    with pytest.raises(CommandError, match="hopper user password"):
        call_command("hopper_user", "create", "ada", "--password-stdin")
    with pytest.raises(CommandError, match="no account eve"):
        call_command("hopper_user", "password", "eve", "--password-stdin")


def test_an_account_without_a_password_is_not_listed() -> None:
    call_command("hopper_token", "create", "bot", stdout=io.StringIO())
    assert said("hopper_user", "list").startswith("No accounts.")


def test_migrate_says_that_the_schema_is_the_newest() -> None:
    assert json.loads(said("hopper_migrate", "--plan", "--json")) == {
        "migrations": [],
        "done": False,
    }
