"""A server reads the tree when it begins, so that the first page does not wait for it."""

from __future__ import annotations

import re
from typing import Any

import pytest

from delegation.pages import watch as watching
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


def test_a_page_does_not_wait_while_the_process_reads_a_large_tree(
    ada: Person, person: Any, tree: Tree, watch: Watch, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watching, "LARGE", 3)
    task = TaskFactory(instance=tree["web-run"], title="Mend the pump")
    olga = person("olga", "operator", tree["web"])
    with watch._looking:  # as while a thread reads the tree
        page = ada.see("/")
        assert "follows in a moment" in page
        assert re.findall(r'id="i-([^"]+)"', page) == ["top", "ops", "ops-run", "web", "web-run"]
        assert re.findall(r'id="i-([^"]+)"', ada.see("/", under="web", level="2")) == ["web-run"]
        assert re.findall(r'id="i-([^"]+)"', olga.see("/")) == ["web", "web-run"]
        assert re.findall(r'id="i-([^"]+)"', olga.see("/", under="ops")) == []
        for address in ("/attention", "/flow", f"/tasks/{task.pk}", "/instances/web"):
            ada.see(address)
        assert ada.get("/changes?after=0&view=tree").status_code == 204
    watch.look()
    told = ada.get("/changes?after=0&view=tree").json()
    assert told["again"], "the page reads itself again as soon as the tree is known"


def test_the_first_page_has_the_tree_read_in_a_thread(
    ada: Person, tree: Tree, watch: Watch, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun: list[Any] = []
    monkeypatch.setattr(watching, "LARGE", 3)
    monkeypatch.setattr(watching.Thread, "start", lambda thread: begun.append(thread))
    assert "follows in a moment" in ada.see("/")
    (thread,) = begun
    thread.run()
    assert "follows in a moment" not in ada.see("/")
    assert begun == [thread]


def test_a_process_that_nobody_looked_at_for_long_reads_the_tree_anew(
    ada: Person, tree: Tree, watch: Watch, monkeypatch: pytest.MonkeyPatch
) -> None:
    watch.look()
    for _ in range(3):
        TaskFactory(instance=tree["web-run"])
    watch._next_look -= watching.IDLE + 10
    monkeypatch.setattr(watching, "EVENTS_AT_ONCE", 1)  # so that events would be read one by one
    ada.see("/")
    assert watch.rows["web-run"].own.backlog == 3
    assert watch.number == 1
