"""A page that stays open hears of changes: of all that it shows, and of nothing else."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
from asgiref.sync import async_to_sync, sync_to_async
from django.contrib.auth import get_user_model
from django.test import AsyncClient, Client
from pytest_django import DjangoAssertNumQueries

from delegation.pages import live, readers, stream, watch as watching
from delegation.pages.watch import Watch
from hopper.actors import EVERYWHERE, Actor
from instances.lifecycle.actions import pause_instance, terminate_instance
from instances.models import Grant, HopperInstance
from instances.tasks.worker import claim_next, complete_task
from instances.tokens import create_token, revoke_token
from instances.tree.shape import move_instance
from tests.factories import ALICE, InstanceFactory, TaskFactory
from tests.pages.conftest import Person

Tree = dict[str, HopperInstance]


@pytest.fixture(autouse=True)
def _each_look_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watching, "LOOK_SECONDS", 0.0)
    monkeypatch.setattr(watching, "REST", 0)


def cursor(page: str) -> int:
    """Return the position from which a page goes on."""
    found = re.search(r'data-after="(\d+)"', page)
    assert found is not None
    return int(found[1])


def changes(person: Person, after: int, view: str = "tree", **query: Any) -> Any:
    """Return the changes after a position, None for none."""
    answer = person.get("/changes", {"after": after, "view": view, **query})
    return answer.json() if answer.status_code == 200 else None


def rows(told: Any) -> set[str]:
    return set(re.findall(r'id="i-([^"]+)"', told["rows"]))


def test_an_idle_page_gets_no_message(ada: Person) -> None:
    after = cursor(ada.see("/"))
    assert changes(ada, after) is None
    assert changes(ada, after) is None


def test_the_rows_that_changed_come_and_no_others(ada: Person, tree: Tree) -> None:
    after = cursor(ada.see("/"))
    changes(ada, after)
    TaskFactory(instance=tree["web-run"])
    told = changes(ada, after)
    assert rows(told) == {"web-run", "web", "top"}
    assert changes(ada, told["after"]) is None
    (lease,) = claim_next("web-run", worker="w", actor=ALICE).leases
    complete_task(lease.task.pk, token=lease.token, actor=ALICE)
    told = changes(ada, told["after"])
    assert "1 done in the last hour" in told["rows"]


def test_a_late_reader_misses_nothing(ada: Person, tree: Tree) -> None:
    after = cursor(ada.see("/"))
    changes(ada, after)
    for place in ("web-run", "ops-run"):
        TaskFactory(instance=tree[place])
        changes(ada, after)
    assert {"web-run", "ops-run"} <= rows(changes(ada, after))


def test_another_process_sends_at_least_the_changed_rows(
    ada: Person, tree: Tree, monkeypatch: pytest.MonkeyPatch
) -> None:
    after = cursor(ada.see("/"))
    TaskFactory(instance=tree["web-run"])
    told = changes(ada, after)  # the first look of this process
    assert told.get("again") or "web-run" in rows(told)


def test_a_new_instance_lets_the_page_read_itself_again(ada: Person, tree: Tree) -> None:
    after = cursor(ada.see("/"))
    changes(ada, after)
    InstanceFactory(scope="ORCHESTRATION", parent=tree["web"], name="new")
    told = changes(ada, after)
    assert {"new", "web"} <= rows(told)
    assert told["gone"] == []


def test_an_instance_that_ends_or_moves_leaves_its_place(ada: Person, tree: Tree) -> None:
    after = cursor(ada.see("/"))
    changes(ada, after)
    terminate_instance("web-run", actor=ALICE)
    told = changes(ada, after)
    assert told["gone"] == ["web-run"]
    move_instance("ops-run", parent_id="web", actor=ALICE)
    told = changes(ada, told["after"])
    assert told["gone"] == ["ops-run"]
    assert {"ops-run", "web", "ops"} <= rows(told)


def test_a_pause_changes_the_rows_below_as_well(ada: Person, tree: Tree) -> None:
    TaskFactory(instance=tree["web-run"])
    after = cursor(ada.see("/"))
    pause_instance("web", actor=ALICE)
    told = changes(ada, after)
    assert {"web", "web-run"} <= rows(told)
    assert "paused above" in told["rows"]


def test_a_change_of_another_subtree_sends_no_message(
    person: Callable[..., Person], ada: Person, tree: Tree
) -> None:
    eve = person("eve", "viewer", tree["ops"])
    after = cursor(eve.see("/"))
    changes(eve, after)
    task = TaskFactory(instance=tree["web-run"])
    told = changes(eve, after)
    assert told is None or (told["rows"], told["attention"]) == ("", 0)
    told = changes(eve, after, view="", task=task.pk)
    assert told is None or not told["again"]
    TaskFactory(instance=tree["ops-run"])
    told = changes(eve, after)
    assert rows(told) == {"ops-run", "ops"}
    assert 'aria-level="1"' in told["rows"]
    assert "top" not in told["rows"]


def test_the_page_of_a_task_gets_messages_about_this_task(ada: Person, tree: Tree) -> None:
    task = TaskFactory(instance=tree["web-run"])
    after = cursor(ada.see(f"/tasks/{task.pk}"))
    changes(ada, after)
    TaskFactory(instance=tree["web-run"])
    told = changes(ada, after, view="", task=task.pk)
    assert not told["again"]
    claim_next("web-run", worker="w", limit=2, actor=ALICE)
    assert changes(ada, told["after"], view="", task=task.pk)["again"]


def test_a_hidden_page_gets_the_count_alone(ada: Person, tree: Tree) -> None:
    after = cursor(ada.see("/"))
    changes(ada, after)
    TaskFactory(instance=tree["top"])
    told = changes(ada, after, hidden="")
    assert (told["attention"], "rows" in told) == (1, False)


def test_viewers_share_one_look_at_the_feed(
    ada: Person,
    tree: Tree,
    watch: Watch,
    monkeypatch: pytest.MonkeyPatch,
    django_assert_num_queries: DjangoAssertNumQueries,
) -> None:
    watch.look()
    monkeypatch.setattr(watching, "LOOK_SECONDS", 60.0)
    watch.look()
    TaskFactory(instance=tree["web-run"])
    with django_assert_num_queries(0):
        for _ in range(50):
            watch.look()


def test_an_idle_look_reads_the_feed_alone_whatever_the_tree(
    ada: Person, tree: Tree, watch: Watch, django_assert_num_queries: Any
) -> None:
    watch.look()
    pause_instance("ops", actor=ALICE)
    watch.look()
    with django_assert_num_queries(2, exact=False):  # PostgreSQL asks for new events first
        watch.look()


def test_a_cursor_that_is_no_number_is_refused(ada: Person) -> None:
    assert ada.get("/changes?after=x").status_code == 400
    assert ada.get("/changes?after=99999999999999999999").status_code == 400


def test_a_last_id_that_is_no_number_counts_as_none(ada: Person) -> None:
    headers = {"Last-Event-ID": "9" * 5000}
    assert ada.get("/stream?after=x", headers=headers).status_code == 400


def test_a_stream_needs_a_server_that_streams(ada: Person) -> None:
    assert "poll, or serve by `hopper serve`" in ada.see("/stream?after=0", 501)


@pytest.fixture
def streamed(tree: Tree, settings: Any) -> Callable[..., Any]:
    """`streamed(address, do)`: the parts of a stream for a person, one of them after `do`."""

    def listen(
        person: Client, address: str, *does: Callable[[], object], **headers: str
    ) -> list[str]:
        client = AsyncClient()
        client.cookies = person.cookies

        async def scene() -> list[str]:
            answer: Any = await client.get(address, headers=headers)
            assert answer["Content-Type"] == "text/event-stream"
            parts = aiter(answer.streaming_content)
            heard = [(await anext(parts)).decode()]
            for do in does:
                await sync_to_async(do)()
                part = await asyncio.wait_for(anext(parts, b"end"), 20)
                heard.append(part.decode())
            answer.close()
            return heard

        return async_to_sync(scene)()

    return listen


def test_a_page_gets_its_messages_by_one_stream(
    ada: Person, tree: Tree, streamed: Callable[..., Any], watch: Watch
) -> None:
    after = cursor(ada.see("/"))
    watch.look()
    address = f"/stream?view=tree&after={after}"
    first, told = streamed(ada, address, lambda: TaskFactory(instance=tree["web-run"]))
    assert first.startswith("retry:")
    number, data = re.findall(r"id: (\d+)\ndata: (.*)\n", told)[0]
    assert int(number) > after
    assert rows(json.loads(data)) == {"web-run", "web", "top"}


@pytest.mark.parametrize("revoke", ["grant", "account", "session"])
def test_a_stream_ends_with_the_rights_of_its_reader(
    person: Callable[..., Person],
    tree: Tree,
    streamed: Callable[..., Any],
    monkeypatch: pytest.MonkeyPatch,
    revoke: str,
) -> None:
    eve = person("eve", "viewer", tree["ops"])
    monkeypatch.setattr(readers, "CHECK_SECONDS", 0.0)
    account = get_user_model().objects.filter(username="eve")
    does = {
        "grant": lambda: Grant.objects.all().delete(),
        "account": lambda: account.update(is_active=False),
        "session": lambda: eve.session.flush(),
    }
    after = cursor(eve.see("/"))
    assert streamed(eve, f"/stream?after={after}", does[revoke])[-1] == "end"


@pytest.mark.parametrize("revoke", ["token", "grant", "session"])
def test_a_stream_of_a_program_ends_with_its_credential(
    person: Callable[..., Person],
    tree: Tree,
    streamed: Callable[..., Any],
    monkeypatch: pytest.MonkeyPatch,
    revoke: str,
) -> None:
    monkeypatch.setattr(stream, "CHECK_SECONDS", 0.0)
    monkeypatch.setattr(readers, "CHECK_SECONDS", 0.0)
    eve = person("eve", "viewer", tree["ops"])
    caller, headers = eve, {}
    if revoke == "token":
        _, text = create_token("p", role="viewer")
        caller, headers = Client(), {"Authorization": f"Bearer {text}"}
    does = {
        "token": lambda: revoke_token("p"),
        "grant": lambda: Grant.objects.all().delete(),
        "session": lambda: eve.session.flush(),
    }
    told = streamed(caller, "/api/v1/events/stream?after=0", lambda: None, does[revoke], **headers)
    assert told[-1] == "end"


def test_the_rights_of_all_readers_are_read_within_ten_seconds() -> None:
    slowest = readers.CHECK_SECONDS + watching.LOOK_SECONDS + stream.TICK_SECONDS
    assert max(slowest, stream.CHECK_SECONDS + stream.TICK_SECONDS) < 10


def test_all_readers_together_cost_three_queries(
    person: Callable[..., Person], tree: Tree, django_assert_num_queries: Any
) -> None:
    people = [person(f"p{at}", "viewer", tree["ops"]) for at in range(5)]
    every = []
    for at, one in enumerate(people):
        account = get_user_model().objects.get(username=f"p{at}")
        request: Any = SimpleNamespace(session=one.session, user=account)
        every.append(readers.Reader.of(request))
    fresh = readers.Readers()
    for reader in every:
        assert fresh.actor(reader)
    fresh._read_at = -100.0
    with django_assert_num_queries(3):
        actors = [fresh.actor(reader) for reader in every]
    assert [actor.grants for actor in actors if actor] == [{"ops": "viewer"}] * len(people)


def test_a_program_streams_the_events_of_a_subtree(
    ada: Person, tree: Tree, streamed: Callable[..., Any]
) -> None:
    def add() -> None:
        for place in ("web-run", "ops-run"):
            TaskFactory(instance=tree[place])

    after = cursor(ada.see("/"))
    address = f"/api/v1/events/stream?under=web&after={after}"
    told = streamed(ada, address, add)[1]
    found = [json.loads(data) for data in re.findall(r"^data: (.*)$", told, re.MULTILINE)]
    assert {one["instance_id"] for one in found} == {"web-run"}
    assert [one["kind"] for one in found] == re.findall(r"^event: (.*)$", told, re.MULTILINE)
    assert ada.get("/api/v1/events/stream?under=nothing").status_code == 404
    assert ada.get("/api/v1/events/stream").status_code == 501


def test_programs_that_see_the_same_share_one_read_of_the_feed(
    tree: Tree, watch: Watch, django_assert_num_queries: Any
) -> None:
    watch.look(at_once=True)
    after = watch.cursor
    for place in ("web-run", "ops-run"):
        TaskFactory(instance=tree[place])
    watch.look(at_once=True)
    admins = [Actor(f"p{at}", {EVERYWHERE: "viewer"}, f"token:{at}") for at in range(5)]
    eve = Actor("eve", {"ops": "viewer"}, "token:9")
    with django_assert_num_queries(1):
        told = [stream._parts_up_to(one, None, after, watch.cursor)[1] for one in admins]
    with django_assert_num_queries(1):
        fewer = [stream._parts_up_to(eve, None, after, watch.cursor)[1] for _ in admins]
    assert len(told[0]) > len(fewer[0]) > 0
    assert told == [told[0]] * 5
    assert fewer == [fewer[0]] * 5


def test_a_message_of_a_stream_is_short_and_the_rest_follows(
    ada: Person, tree: Tree, watch: Watch, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(live, "MOST_BYTES", 2000)
    watch.look(at_once=True)
    for place in ("web-run", "ops-run"):
        TaskFactory(instance=tree[place])
    before, after = watch.number, watch.cursor
    watch.look(at_once=True)
    viewer = live.Viewer(Actor("ada", {EVERYWHERE: "admin"}, "user:1"), {"view": "tree"})
    told = [viewer.message(before, after)]
    while viewer.waiting:
        told.append(viewer.message(watch.number, after))
    assert len(told) > 1
    assert set().union(*map(rows, told)) == {"web-run", "web", "ops-run", "ops", "top"}
    assert max(len(one["rows"]) for one in told) < 2000 + 100


def test_a_large_tree_gets_the_rows_that_it_shows(
    ada: Person, tree: Tree, watch: Watch, monkeypatch: pytest.MonkeyPatch
) -> None:
    watch.look()
    monkeypatch.setattr(watching, "LARGE", 3)
    monkeypatch.setattr(watching, "CALM", 3)
    page = ada.see("/")
    assert "i-web-run" not in page
    after = cursor(page)
    TaskFactory(instance=tree["web-run"])
    assert rows(changes(ada, after)) == {"web", "top"}
    assert rows(changes(ada, after, open="ops,web")) == {"web-run", "web", "top"}
