"""`hopper user` and `hopper migrate`: accounts of the admin site, and the newest schema."""

from __future__ import annotations

import io
import json
from collections.abc import Callable

import pytest
from django.contrib.auth import authenticate
from django.core.management import CommandError, call_command

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
    account = authenticate(username="ada", password="correct horse battery")
    assert account is not None
    assert account.is_superuser
    assert json.loads(said("hopper_user", "list", "--json"))[0]["name"] == "ada"
    typed("another horse battery")
    said("hopper_user", "password", "ada", "--password-stdin")
    assert authenticate(username="ada", password="another horse battery") is not None


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
