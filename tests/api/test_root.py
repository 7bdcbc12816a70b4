"""The root of the REST interface leads a browser to its page and a client to its lists."""

from __future__ import annotations

import pytest
from django.test import Client

from tests.api.conftest import API
from tests.openapi import schema

ROOTS = ["/api", "/api/", API, f"{API}/"]
BROWSER = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"


@pytest.mark.django_db
@pytest.mark.parametrize("address", ROOTS)
def test_a_browser_is_led_to_the_page_of_the_operations(client: Client, address: str) -> None:
    answer = client.get(address, headers={"accept": BROWSER}, follow=True)
    assert answer.redirect_chain[-1] == (f"{API}/docs", 302)
    assert answer.status_code == 200
    assert answer["Content-Type"].startswith("text/html")


@pytest.mark.django_db
@pytest.mark.parametrize("address", ROOTS)
@pytest.mark.parametrize("accept", ["application/json", "*/*", "application/problem+json"])
def test_a_client_gets_the_addresses_to_begin_at(client: Client, address: str, accept: str) -> None:
    answer = client.get(address, headers={"accept": accept}, follow=True)
    assert answer["Content-Type"] == "application/json"
    found = answer.json()
    assert found["tasks"] == f"http://testserver{API}/tasks"
    for place in found.values():
        assert client.get(place).status_code in (200, 401), place


@pytest.mark.django_db
def test_the_index_names_every_address_that_is_read_without_an_id(client: Client) -> None:
    read = {
        path
        for path, operations in schema()["paths"].items()
        if "get" in operations and "{" not in path and path not in (API, f"{API}/tasks/search")
    }
    found = {place.removeprefix("http://testserver") for place in client.get(API).json().values()}
    assert found == read | {f"{API}/schema", f"{API}/docs"}
