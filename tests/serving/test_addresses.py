"""Addresses as they arrive at `hopper serve`: bytes, line ends, files, the root."""

from __future__ import annotations

import json
import re
from contextlib import closing

import pytest

from tests.serving.conftest import Served, answer

LINE = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3} [A-Z]+ [\w.]+ ")
BROWSER = "Accept: text/html,application/xhtml+xml,*/*;q=0.8"


def asked(served: Served, address: str, *more: str) -> tuple[int, dict[str, str], bytes]:
    """Return the answer to a GET of an address, sent as it is."""
    with closing(served.connect(served.head("GET", address, *more))) as sender:
        return answer(sender)


@pytest.mark.parametrize(
    "address",
    ["/api/v1/tasks?search=%ff", "/api/v1/tasks/%ff", "/find?q=%C3", "/%ED%A0%80", "/tasks/%ff"],
)
def test_an_address_that_is_not_utf8_is_refused(served: Served, address: str) -> None:
    status, headers, body = asked(served, address)
    assert (status, headers["content-type"]) == (400, "application/problem+json")
    assert "UTF-8" in json.loads(body)["detail"]


def test_an_address_in_utf8_is_read(served: Served) -> None:
    status, _, body = asked(served, "/api/v1/tasks?search=%EF%BF%BD%20%C3%A9")
    assert (status, json.loads(body)["results"]) == (200, [])


def test_a_line_end_in_an_address_forges_no_line_of_the_log(served: Served) -> None:
    forged = "2026-01-01 00:00:00,000 ERROR hopper forged"
    quoted = forged.replace(" ", "%20")
    for end in ("%0a", "%0d", "%0d%0a", "%e2%80%a8", "%c2%85", "%0b", "%1b%5b2J"):
        for place in ("/api/v1/tasks/x", "/x", "/admin/x", "/static/x"):
            assert asked(served, f"{place}{end}{quoted}")[0] in (302, 400, 404)
        assert asked(served, f"/api/v1/tasks?search={end}{quoted}")[0] == 200
        # A server may refuse this head; its log must not take the line over.
        asked(served, "/x", f"X-Request-ID: {quoted}")
    assert served.log is not None
    lines = served.log.read_text(encoding="utf-8").splitlines()
    assert [line for line in lines if line.startswith(forged)] == []
    assert [line for line in lines if "forged" in line and not LINE.match(line)] == []
    assert [line for line in lines if "\x1b" in line] == []
    assert len([line for line in lines if "forged" in line]) >= 28


def test_the_files_of_the_admin_and_of_the_pages_are_served(served: Served) -> None:
    for page in ("/admin/login/", "/sign-in", "/api/v1/docs"):
        _, _, body = asked(served, page, BROWSER)
        files = set(re.findall(r'(?:href|src)="(/static/[^"]+)"', body.decode()))
        assert files, page
        for file in files:
            status, headers, _ = asked(served, file)
            assert status == 200, file
            assert not headers["content-type"].startswith("text/html")


def test_the_root_of_the_interface_leads_somewhere(served: Served) -> None:
    status, headers, _ = asked(served, "/api/v1/", BROWSER)
    assert (status, headers["location"]) == (302, "/api/v1/docs")
    status, _, body = asked(served, "/api/v1/")
    assert (status, json.loads(body)["tasks"]) == (200, f"{served.address}/api/v1/tasks")
    assert asked(served, "/", BROWSER)[1]["location"].startswith("/sign-in")
