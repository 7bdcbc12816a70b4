"""The pages beside the REST interface: what they may load."""

from __future__ import annotations

import pytest
from django.test import Client

from tests.admin.conftest import INLINE
from tests.api.conftest import API

pytestmark = pytest.mark.django_db


def test_the_page_of_the_interface_needs_nothing_but_its_files(client: Client) -> None:
    page = client.get(f"{API}/docs")
    assert "unsafe" not in page.headers["Content-Security-Policy"]
    assert INLINE.findall(page.content.decode()) == []
    script = client.get(f"{API}/docs?script=")
    assert script.headers["Content-Type"].startswith("application/javascript")
    assert f"{API}/schema" in script.content.decode()


def test_an_answer_of_the_interface_carries_no_policy(client: Client) -> None:
    assert "Content-Security-Policy" not in client.get("/healthz").headers


def test_inline_code_would_be_found() -> None:
    page = '<p style="x"><a onclick="y"><style><script>z</script><a href="javascript:a">'
    assert len(INLINE.findall(page)) == 5
    assert INLINE.findall('<script src="a"></script><script id="b" type="application/json">') == []
