"""Limits by the minute: who asks or guesses too often waits, and nobody else does."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django.db import OperationalError
from django.test import Client
from pytest_django import Settings

from delegation.sweep import sweep
from hopper.rest import limits
from hopper.rest.limits import Counters
from instances.models import RequestCount
from tests.api.conftest import API, Caller

pytestmark = pytest.mark.django_db
PAGES = ("/admin/login/", "/sign-in")


@pytest.fixture(autouse=True)
def _fresh_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "COUNTERS", Counters())
    monkeypatch.setattr(limits.time, "time", lambda: 1000 * 60 + 20.0)


def test_one_token_is_limited_and_no_other(
    caller: Callable[..., Caller], settings: Settings
) -> None:
    settings.HOPPER_REQUESTS_PER_MINUTE = 2
    busy, other = caller("busy"), caller("other")
    assert [busy.get(f"{API}/tasks").status_code for _ in range(3)] == [200, 200, 429]
    answer = busy.get(f"{API}/tasks")
    assert answer["Content-Type"] == "application/problem+json"
    assert (answer["Retry-After"], answer.json()["code"]) == ("40", "throttled")
    assert other.get(f"{API}/tasks").status_code == 200


@pytest.mark.parametrize("header", ["Bearer hop_wrong", "Bearer a b", "Lease wrong"])
def test_wrong_credentials_are_limited_by_address(
    caller: Callable[..., Caller], nobody: Caller, settings: Settings, header: str
) -> None:
    settings.HOPPER_FAILURES_PER_MINUTE = 2
    nobody.credentials(HTTP_AUTHORIZATION=header)
    path = f"{API}/tasks/task-1/heartbeat"
    tried = [nobody.post(path, {}, format="json", REMOTE_ADDR="192.0.2.1") for _ in range(3)]
    assert [answer.status_code for answer in tried] == [401, 401, 429]
    assert tried[-1]["Retry-After"] == "40"
    elsewhere = nobody.post(path, {}, format="json", REMOTE_ADDR="192.0.2.2")
    assert elsewhere.status_code == 401
    assert caller("ada").get(f"{API}/tasks", REMOTE_ADDR="192.0.2.1").status_code == 200


def test_addresses_of_one_ipv6_network_count_together(nobody: Caller, settings: Settings) -> None:
    settings.HOPPER_FAILURES_PER_MINUTE = 1
    nobody.credentials(HTTP_AUTHORIZATION="Bearer hop_wrong")
    found = [
        nobody.get(f"{API}/tasks", REMOTE_ADDR=address).status_code
        for address in ("2001:db8::1", "2001:db8::2", "2001:db8:0:1::1")
    ]
    assert found == [401, 429, 401]


def test_a_request_without_credentials_is_no_guess(nobody: Caller, settings: Settings) -> None:
    settings.HOPPER_FAILURES_PER_MINUTE = 1
    assert {nobody.get(f"{API}/tasks").status_code for _ in range(4)} == {401}


def guess(
    client: Client, name: str, password: str, address: str = "192.0.2.1", page: str = PAGES[0]
) -> int:
    form = {"username": name, "password": password}
    answer = client.post(page, form, REMOTE_ADDR=address)
    assert answer.status_code != 429 or int(answer["Retry-After"]) > 0
    return answer.status_code


def test_wrong_passwords_lock_the_account_at_that_address(
    client: Client, settings: Settings
) -> None:
    get_user_model().objects.create_superuser("ada", password="right")
    settings.AXES_FAILURE_LIMIT = 3
    assert [guess(client, "ada", "wrong") for _ in range(3)] == [200, 200, 429]
    assert guess(client, "ada", "right") == 429
    assert guess(client, "ada", "right", "192.0.2.2") == 302


@pytest.mark.parametrize("page", PAGES)
def test_guesses_at_many_accounts_are_limited_by_address(
    client: Client, settings: Settings, page: str
) -> None:
    settings.HOPPER_FAILURES_PER_MINUTE = 2
    tried = [guess(client, f"user-{number}", "wrong", page=page) for number in range(3)]
    assert tried == [200, 200, 429]
    assert guess(client, "user-4", "wrong", "192.0.2.2") == 200


def test_counts_start_anew_each_minute(monkeypatch: pytest.MonkeyPatch) -> None:
    counters = Counters()
    assert [counters.add("a", 9), counters.add("a", 9), counters.add("b", 9)] == [1, 2, 1]
    assert counters.read("a") == 2
    monkeypatch.setattr(limits.time, "time", lambda: 1001 * 60.0)
    assert counters.add("a", 9) == 1


def test_servers_of_one_database_count_failures_together() -> None:
    one, other = Counters(RequestCount.add), Counters(RequestCount.add)
    assert [one.add("a", 60), other.add("a", 60), one.add("a", 60)] == [1, 2, 3]
    assert (one.read("a"), other.read("a")) == (3, 2)


def test_servers_join_a_large_count_in_hundredths_of_its_limit(
    django_assert_num_queries: Any,
) -> None:
    one, other = Counters(RequestCount.add), Counters(RequestCount.add)
    with django_assert_num_queries(2):
        assert [one.add("a", 500) for _ in range(10)][-1] == 10
    assert [other.add("a", 500) for _ in range(5)] == [1, 2, 3, 4, 15]


def test_above_the_limit_nothing_is_written(django_assert_num_queries: Any) -> None:
    counters = Counters(RequestCount.add)
    with django_assert_num_queries(3):
        assert [counters.add("a", 2) for _ in range(9)][-1] == 9


def test_a_server_without_its_database_counts_alone() -> None:
    def lost(key: str, minute: int, number: int) -> int:
        raise OperationalError("gone")

    counters = Counters(lost)
    assert [counters.add("a", 60), counters.add("a", 60)] == [1, 2]


def test_a_sweep_forgets_the_counts_of_earlier_minutes() -> None:
    RequestCount.add("old", 900, 1)
    RequestCount.add("new", 1000, 1)
    sweep()
    assert list(RequestCount.objects.values_list("key", flat=True)) == ["new"]
