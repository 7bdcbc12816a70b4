"""`next` of every list goes on after the last row seen, while rows before it come and go."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from hopper.database import number_of
from hopper.rest import pagination
from hopper.rest.pagination import CursorPage
from instances.models import Task
from tests.api.conftest import API, Caller
from tests.api.test_query_budgets import fill
from tests.factories import InstanceFactory, TaskFactory
from tests.worlds import kept

if TYPE_CHECKING:
    from instances.models import HopperInstance

pytestmark = pytest.mark.unmeasured

Tree = dict[str, "HopperInstance"]

LISTS = (
    "/instances",
    *(f"/instances?ordering={sign}{key}" for sign in ("", "-") for key in ("name", "status")),
    "/instances/web/children?ordering=updated_at",
    "/instances/web/tasks?ordering=-title",
    "/tasks",
    *(
        f"/tasks?ordering={key}"
        for key in ("id", "priority", "-priority", "status,-title", "queue_at", "-updated_at")
    ),
    "/delegations",
    "/instances/web/delegations?direction=all",
    "/lessons",
)


def walk(ada: Caller, path: str, link: str = "next") -> list[Any]:
    """Return the ids of all rows, page after page along one of the links."""
    seen, url = [], path
    while url:
        page = ada.get(url).json()
        rows = page["results"] if link == "next" else page["results"][::-1]
        seen += [row["id"] for row in rows]
        url = page[link]
    return seen


@pytest.fixture
@kept
def full(tree: Tree) -> None:
    """A tree with rows of every kind."""
    fill(tree, 4)
    for word in ("low", "urgent", "high"):
        TaskFactory(instance=tree["web-run"], priority=word, title=f"of {word} priority")


@pytest.mark.parametrize("path", LISTS)
def test_pages_forth_and_back_hold_every_row_once(ada: Caller, full: None, path: str) -> None:
    for number in range(5):
        ada.tell("/lessons", {"title": f"lesson {number}", "description": "why"}, status=201)
    both = "&" if "?" in path else "?"
    whole = [row["id"] for row in ada.get(f"{API}{path}{both}limit=500").json()["results"]]
    assert len(whole) > 4
    url = f"{API}{path}{both}limit=3"
    assert walk(ada, url) == whole
    last = url
    while following := ada.get(last).json()["next"]:
        last = following
    assert walk(ada, last, "previous") == whole[::-1]


def test_tasks_that_are_claimed_while_the_list_is_read_push_none_off_it(
    ada: Caller, tree: Tree
) -> None:
    run = InstanceFactory(
        scope="ORCHESTRATION", parent=tree["web"], name="long", config={"max_concurrent_tasks": 99}
    )
    made = [TaskFactory(instance=run).pk for _ in range(60)]
    seen, url = [], f"{API}/tasks?status=pending&instance_id=long&limit=10&ordering=id"
    while url:
        page = ada.get(url).json()
        seen += [row["id"] for row in page["results"]]
        ada.tell("/instances/long/claim", {"worker": "bob", "limit": 10})
        url = page["next"]
    assert seen == made


def test_a_jump_by_offset_goes_on_by_key(ada: Caller, tree: Tree) -> None:
    made = [TaskFactory(instance=tree["web-run"]).pk for _ in range(9)]
    page = ada.ask("/tasks", ordering="id", limit=2, offset=4)
    assert (page["count"], [row["id"] for row in page["results"]]) == (9, made[4:6])
    assert "offset=2" in page["previous"]
    following = ada.get(page["next"]).json()
    assert (following["count"], [row["id"] for row in following["results"]]) == (None, made[6:8])
    assert [row["id"] for row in ada.get(following["previous"]).json()["results"]] == made[4:6]


def test_a_cursor_of_another_order_is_refused(ada: Caller, tree: Tree) -> None:
    fill(tree, 1)
    link = ada.ask("/tasks", ordering="title", limit=1)["next"]
    for spoilt in (
        link.replace("ordering=title", "ordering=status"),
        link.replace("cursor=", "cursor=x"),
        f"{link}&offset=3",
    ):
        answer = ada.get(spoilt)
        assert (answer.status_code, answer.json()["errors"][0]["field"]) == (400, "cursor"), spoilt


@pytest.mark.parametrize(("most", "limit", "counts"), [(9, 2, 1), (3, 2, 2), (3, 9, 0)])
def test_a_long_list_says_about_how_many_rows_it_has(
    ada: Caller, tree: Tree, monkeypatch: pytest.MonkeyPatch, most: int, limit: int, counts: int
) -> None:
    monkeypatch.setattr(pagination, "number_of", partial(number_of, exact_to=most))
    for _ in range(9):
        TaskFactory(instance=tree["web-run"])
    with CaptureQueriesContext(connection) as caught:
        page = ada.ask("/tasks", limit=limit)
    if page.pop("count_estimated", False):
        assert counts == 2
        assert page["count"] > most
    else:
        assert page["count"] == 9
    assert len(page["results"]) == limit
    assert sum("COUNT(*)" in one["sql"] or "EXPLAIN" in one["sql"] for one in caught) == counts


@pytest.mark.parametrize("order", ["finished_at", "-finished_at"])
def test_rows_without_a_value_are_paged_as_well(
    tree: Tree, rf_request: Callable[[str], Any], order: str
) -> None:
    for number in range(9):
        made = TaskFactory(instance=tree["web-run"])
        if number % 3:
            Task.objects.filter(pk=made.pk).update(finished_at=made.created_at)
    rows = Task.objects.order_by(order, "pk")
    whole = [task.pk for task in rows]
    try:
        seen: list[str] = []
        url: str | None = "http://testserver/tasks?limit=2"
        while url:
            page = CursorPage()
            seen += [task.pk for task in page.paginate_queryset(rows, rf_request(url))]
            url = page.get_next_link()
        assert seen == whole
        back: list[str] = []
        url = page.get_previous_link()
        while url:
            page = CursorPage()
            back += [task.pk for task in page.paginate_queryset(rows, rf_request(url))][::-1]
            url = page.get_previous_link()
        assert back == whole[::-1][1:]
    finally:
        Task.objects.update(finished_at=None)


@pytest.fixture
def rf_request() -> Callable[[str], Any]:
    """`rf_request(url)`: a GET as a view has it."""
    from rest_framework.request import Request
    from rest_framework.test import APIRequestFactory

    return lambda url: Request(APIRequestFactory().get(url))
