"""Nobody comes in without credentials, and who is refused hears how to get some."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from io import StringIO

import pytest
from django.contrib.auth import get_user_model
from django.core.management import CommandError, call_command
from django.test import override_settings
from django.utils import timezone

from instances.models import AgentToken
from tests.api.conftest import API, Caller


def test_a_caller_without_credentials_learns_how_to_get_some(nobody: Caller) -> None:
    answer = nobody.get(f"{API}/instances")
    assert answer.status_code == 401
    assert answer["Content-Type"] == "application/problem+json"
    assert answer["WWW-Authenticate"].startswith("Bearer")
    assert "hopper token create" in answer.json()["detail"]


@pytest.mark.parametrize("word", ["Bearer", "bearer", "Token"])
def test_a_token_opens_the_door_under_either_word(caller: Callable[..., Caller], word: str) -> None:
    client = caller("bob")
    secret = client._credentials["HTTP_AUTHORIZATION"].split()[1]
    client.credentials(HTTP_AUTHORIZATION=f"{word} {secret}")
    assert client.get(f"{API}/instances").status_code == 200


@pytest.mark.parametrize("header", ["Bearer", "Bearer a b", "Bearer hop_00", "Token \xe9"])
def test_a_wrong_token_is_refused(nobody: Caller, header: str) -> None:
    nobody.credentials(HTTP_AUTHORIZATION=header)
    assert nobody.get(f"{API}/instances").status_code == 401


def test_an_expired_token_is_refused_and_kept(caller: Callable[..., Caller]) -> None:
    client = caller("bob")
    AgentToken.objects.update(expiry=timezone.now() - timedelta(seconds=1))
    assert client.get(f"{API}/instances").status_code == 401
    assert AgentToken.objects.count() == 1


def test_a_token_of_an_inactive_account_is_refused(caller: Callable[..., Caller]) -> None:
    client = caller("bob")
    get_user_model().objects.update(is_active=False)
    assert client.get(f"{API}/instances").status_code == 401


def test_a_session_comes_in_but_may_change_things_only_with_csrf() -> None:
    admin = get_user_model().objects.create_superuser("root", password="root")
    browser = Caller(enforce_csrf_checks=True, raise_request_exception=False)
    browser.force_login(admin)
    assert browser.get(f"{API}/instances").status_code == 200
    refused = browser.call("POST", "/instances", {"name": "x", "scope": "GLOBAL"})
    assert refused.status_code == 403


def test_no_header_makes_anybody_the_local_operator(nobody: Caller) -> None:
    headers = {"hopper.local_operator": "eve", "Hopper-Local-Operator": "eve"}
    assert nobody.get(f"{API}/instances", headers=headers).status_code == 401


def test_the_local_operator_is_admin_everywhere(nobody: Caller) -> None:
    answer = nobody.post(
        f"{API}/instances",
        {"name": "top", "scope": "GLOBAL"},
        format="json",
        **{"hopper.local_operator": "ada"},
    )
    assert answer.status_code == 201
    assert answer.json()["created_by"] == "ada"


@pytest.mark.parametrize("path", ["/healthz", "/health", "/readyz", f"{API}/schema"])
def test_health_and_schema_need_no_credentials(nobody: Caller, path: str) -> None:
    assert nobody.get(path).status_code == 200


def test_the_command_makes_lists_and_revokes_a_token(nobody: Caller) -> None:
    out = StringIO()
    call_command("hopper_token", "create", "bob", "--expires", "1h", stdout=out)
    secret = next(word for word in out.getvalue().split() if word.startswith("hop_"))
    assert f"curl -H 'Authorization: Bearer {secret}'" in out.getvalue()
    nobody.credentials(HTTP_AUTHORIZATION=f"Bearer {secret}")
    assert nobody.get(f"{API}/instances").status_code == 200
    listed = StringIO()
    call_command("hopper_token", "list", stdout=listed)
    assert "bob  admin everywhere" in listed.getvalue()
    assert secret not in listed.getvalue()
    with pytest.raises(CommandError, match="revoke it first"):
        call_command("hopper_token", "create", "bob")
    call_command("hopper_token", "revoke", "bob", stdout=StringIO())
    assert nobody.get(f"{API}/instances").status_code == 401


@override_settings(ALLOWED_HOSTS=["localhost"])
def test_a_foreign_host_name_is_refused_as_a_problem(nobody: Caller) -> None:
    answer = nobody.get(f"{API}/instances", headers={"host": "evil.example"})
    assert answer.status_code == 400
    assert answer["Content-Type"] == "application/problem+json"
