"""Every page carries a Content-Security-Policy without `unsafe-*`, and needs nothing beyond it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django.test import Client
from django.urls import URLPattern, URLResolver, get_resolver

from tests.admin.conftest import INLINE

ENDLESS = {"/stream", "/api/v1/events/stream", "/changes"}
"""The addresses whose answer is no page and has no end, or waits."""
STRANGERS = ["/", "/sign-in", "/admin/login/", "/admin/", "/api/v1/docs", "/api"]


def addresses(resolver: URLResolver, before: str = "/") -> Iterator[str]:
    """Yield the addresses without a parameter."""
    for pattern in resolver.url_patterns:
        here = before + str(pattern.pattern).replace("^", "").replace("$", "").replace("\\Z", "")
        if isinstance(pattern, URLResolver):
            yield from addresses(pattern, here)
        elif isinstance(pattern, URLPattern) and not {"<", "(", "?"} & set(here):
            yield here


ADDRESSES = sorted(set(addresses(get_resolver())) - ENDLESS)


def assert_strict(answer: Any) -> bool:
    """Return whether the answer is a page. Fail for a page that is not under the policy."""
    if not answer.headers.get("Content-Type", "").startswith("text/html"):
        return False
    policy = answer.headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert INLINE.findall(answer.content.decode()) == []
    return True


@pytest.fixture
def root(transactional_db: None) -> Client:
    """The browser of an account that may see everything."""
    client = Client(raise_request_exception=False)
    client.force_login(get_user_model().objects.create_superuser("root", password="secret"))
    return client


def test_every_page_is_under_the_policy(root: Client, subtests: pytest.Subtests) -> None:
    pages = set()
    for address in ADDRESSES:
        with subtests.test(address):
            answer = root.get(address, headers={"accept": "text/html"})
            assert answer.status_code < 500
            pages |= {address} if assert_strict(answer) else set()
    assert {"/", "/attention", "/flow", "/mine", "/admin/", "/api/v1/docs"} <= pages
    assert len([page for page in pages if page.startswith("/admin/instances/")]) > 5


@pytest.mark.parametrize("address", STRANGERS)
def test_what_a_stranger_sees_is_under_the_policy(
    client: Client, transactional_db: None, address: str
) -> None:
    assert assert_strict(client.get(address, headers={"accept": "text/html"}, follow=True))


@pytest.mark.parametrize("address", ["/sign-in", "/admin/login/"])
def test_a_wrong_password_is_answered_under_the_policy(
    client: Client, transactional_db: None, address: str
) -> None:
    answer = client.post(address, {"username": "root", "password": "wrong"})
    assert assert_strict(answer)


@pytest.mark.parametrize(
    "address",
    ["/nowhere", "/tasks/task-0", "/instances/nowhere", "/admin/nowhere/", "/api/v1/nowhere",
     "/admin/instances/task/nowhere/change/", "/find?q=%ff"],
)  # fmt: skip
def test_a_page_of_an_error_is_under_the_policy(root: Client, address: str) -> None:
    answer = root.get(address, headers={"accept": "text/html"})
    assert answer.status_code < 500
    assert assert_strict(answer) or answer["Content-Type"] == "application/problem+json"


def test_the_refusal_of_a_form_of_another_site_is_under_the_policy(transactional_db: None) -> None:
    other = Client(enforce_csrf_checks=True)
    answer = other.post("/sign-in", {"username": "root", "password": "secret"})
    assert answer.status_code == 403
    assert assert_strict(answer) or answer["Content-Type"] == "application/problem+json"
