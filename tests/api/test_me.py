"""`GET /me`: who the caller is, and what the caller may do."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from django.contrib.auth import get_user_model
from django.test import Client

from instances.models import Grant, HopperInstance
from tests.api.conftest import API, Caller


def test_me_shows_the_role_and_instance_of_a_token(
    caller: Callable[..., Caller], tree: dict[str, HopperInstance]
) -> None:
    found = caller("bot", "worker", tree["web"]).ask("/me")
    assert (found["name"], found["kind"], found["expires_at"]) == ("bot", "token", None)
    assert [(grant["instance_id"], grant["role"]) for grant in found["grants"]] == [
        (tree["web"].pk, "worker")
    ]
    assert found["grants"][0]["may"][0] == "read"
    assert len(found["grants"][0]["may"]) == 2


@pytest.mark.parametrize("superuser", [True, False])
def test_me_shows_the_grants_of_an_account(
    client: Client, tree: dict[str, HopperInstance], superuser: bool
) -> None:
    user = get_user_model().objects.create_user("ada", is_superuser=superuser)
    Grant.objects.create(user=user, instance=tree["web"], role="operator")
    client.force_login(user)
    found = client.get(f"{API}/me").json()
    expected = (None, "admin") if superuser else (tree["web"].pk, "operator")
    assert found["kind"] == "account"
    assert [(grant["instance_id"], grant["role"]) for grant in found["grants"]] == [expected]


def test_a_caller_without_credentials_has_no_rights(nobody: Caller) -> None:
    assert nobody.get(f"{API}/me").status_code == 401
