"""A server reads the tree when it begins, so that the first page does not wait for it."""

from __future__ import annotations

from typing import Any

import pytest

from delegation.pages.watch import Watch
from hopper.serving import warming
from instances.models import HopperInstance
from tests.factories import TaskFactory
from tests.pages.conftest import Person

Tree = dict[str, HopperInstance]


def test_the_first_page_after_the_warm_up_reads_the_tables_no_more(
    ada: Person, tree: Tree, watch: Watch, django_assert_max_num_queries: Any
) -> None:
    TaskFactory(instance=tree["web-run"])
    warming.warm_up()
    assert watch.rows["web-run"].own.backlog == 1
    with django_assert_max_num_queries(6):  # the session, the account, its grants, the feed
        page = ada.see("/")
    assert "i-web-run" in page


def test_a_warm_up_that_fails_stops_neither_the_server_nor_the_next_one(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    done: list[str] = []
    monkeypatch.setattr(warming, "AT_START", [lambda: 1 / 0, lambda: done.append("next")])
    warming.warm_up()
    assert done == ["next"]
    assert "division by zero" in caplog.text
