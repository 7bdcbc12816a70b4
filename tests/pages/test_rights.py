"""Who sees what: no page shows or counts an instance or a task that the account may not see."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
from django.test import Client

from instances.lifecycle.actions import pause_instance
from instances.models import Grant, HopperInstance, Task
from instances.tasks.questions import NewQuestion, ask
from instances.tasks.worker import claim_next, complete_task, fail_task
from tests.factories import ALICE, TaskFactory
from tests.pages.conftest import Person

pytestmark = pytest.mark.unmeasured

Tree = dict[str, HopperInstance]
ROLES = ("viewer", "worker", "operator", "admin")


@pytest.fixture
def work(tree: Tree) -> dict[str, Task]:
    """At each project: a resting task, a failed one, a done one, an asking one, one that waits."""
    made: dict[str, Task] = {}
    for place in ("web", "ops"):
        run = tree[f"{place}-run"]
        for name in ("failed", "done", "asking", "waiting"):
            made[f"{place} {name}"] = TaskFactory(instance=run, title=f"{place} secret {name}")
        failed, done, asking = claim_next(run.pk, worker="w", limit=3, actor=ALICE).leases
        fail_task(failed.task.pk, token=failed.token, retryable=False, actor=ALICE)
        complete_task(done.task.pk, token=done.token, actor=ALICE)
        question = NewQuestion(f"{place} secret question?")
        ask(asking.task.pk, question, token=asking.token, actor=ALICE)
        made[place] = TaskFactory(instance=tree[place], title=f"{place} secret hand")
    made["top"] = TaskFactory(instance=tree["top"], title="top secret")
    made["loose"] = TaskFactory(title="loose secret")
    return made


def addresses(place: str, work: dict[str, Task]) -> list[str]:
    """Return every page of reading, with all that is at a project."""
    return [
        "/", "/?q=stuck", "/?q=secret", "/attention", "/attention?mine", "/mine",
        "/flow", "/flow?window=7d", "/find?q=secret", "/find?q=run", "/changes?after=0&view=tree",
        f"/flow?under={place}", "/attention?kind=failed",
        f"/instances/{place}", f"/instances/{place}-run", f"/instances/{place}?menu",
        *(f"/tasks/{task.pk}" for name, task in work.items() if name.startswith(place)),
        *(f"/tasks/{task.pk}/delegate" for name, task in work.items() if name.startswith(place)),
        f"/instances/{place}-run/move",
    ]  # fmt: skip


@pytest.mark.parametrize("role", ROLES)
def test_no_page_names_what_lies_beside(
    person: Callable[..., Person], tree: Tree, work: dict[str, Task], role: str
) -> None:
    pause_instance("top", actor=ALICE)
    eve = person("eve", role, tree["ops"])
    hidden = [*(task.pk for name, task in work.items() if not name.startswith("ops"))]
    for address in addresses("ops", work):
        page = eve.get(address).content.decode()
        # A random token may spell any word.
        page = re.sub(r"\b[0-9A-Za-z]{64}\b", "", page)
        assert "web" not in re.sub(r"instances/\S+/web", "", page), address
        assert "top" not in re.findall(r"\btop\b", page.replace('class="top"', "")), address
        assert not [pk for pk in hidden if pk in page], address


@pytest.mark.parametrize("role", ROLES)
def test_pages_beside_the_grant_are_not_found(
    person: Callable[..., Person], tree: Tree, work: dict[str, Task], role: str
) -> None:
    eve = person("eve", role, tree["ops"])
    unseen = [one for one in addresses("web", work) if "web" in one or "/tasks/" in one]
    for address in unseen:
        assert eve.get(address).status_code == 404, address
    for verb in ("stop", "terminate", "add", "pause"):
        eve.press(f"/instances/web/{verb}", 404)
    for verb in ("cancel", "edit", "take", "retry"):
        eve.press(f"/tasks/{work['web'].pk}/{verb}", 404)


def test_counts_are_those_of_the_visible_part(
    person: Callable[..., Person], tree: Tree, work: dict[str, Task]
) -> None:
    eve, ada = person("eve", "viewer", tree["ops"]), person("ada")
    assert "<b>2</b> instances" in eve.see("/")
    assert "<b>5</b> instances" in ada.see("/")
    own = re.search(r"<b>(\d+)</b> in all", eve.see("/attention"))
    every = re.search(r"<b>(\d+)</b> in all", ada.see("/attention"))
    assert own is not None
    assert every is not None
    assert (own[1], every[1]) == ("3", "8")
    assert "(3)" in eve.see("/").split("</title>")[0]
    told = eve.get("/changes?after=0&view=tree").json()
    assert told["attention"] == 3
    assert "Done <b>1</b>" in eve.see("/flow")
    assert "Done <b>2</b>" in ada.see("/flow")


def test_buttons_follow_the_role(
    person: Callable[..., Person], tree: Tree, work: dict[str, Task]
) -> None:
    task = work["web"].pk
    viewer, worker = (person(role, role, tree["web"]) for role in ("viewer", "worker"))
    operator = person("operator", "operator", tree["web"])
    assert "/take" not in viewer.see(f"/tasks/{task}")
    assert "/take" in worker.see(f"/tasks/{task}")
    assert "/cancel" not in worker.see(f"/tasks/{task}")
    assert "/cancel" in operator.see(f"/tasks/{task}")
    assert "/terminate" not in operator.see("/instances/web")
    viewer.press(f"/tasks/{task}/take", 403)
    worker.press("/instances/web/stop", 403)
    operator.press("/instances/web/terminate", 403, cascade="on")
    assert "/answer" not in worker.see("/attention")


def test_a_task_held_elsewhere_names_no_invisible_instance(
    person: Callable[..., Person], tree: Tree
) -> None:
    task = TaskFactory(instance=tree["top"], tags=["web"], complexity=4)
    assert Task.objects.get(pk=task.pk).instance_id == "web-run"
    Grant.objects.filter(user__username="eve").delete()
    eve = person("eve", "viewer", tree["web-run"])
    page = eve.see(f"/tasks/{task.pk}")
    assert "an instance you cannot see" in page
    assert 'href="/instances/top"' not in page
    assert 'href="/instances/web"' not in page


@pytest.mark.parametrize("address", ["/", "/attention", "/tasks/x", "/changes", "/flow", "/mine"])
def test_a_stranger_is_sent_to_the_sign_in(address: str, transactional_db: None) -> None:
    answer = Client().get(address)
    assert (answer.status_code, answer["Location"].split("?")[0]) == (302, "/sign-in")


def test_a_person_without_a_grant_sees_nothing(
    person: Callable[..., Person], tree: Tree, work: dict[str, Task]
) -> None:
    eve = person("eve", "viewer", tree["ops"])
    Grant.objects.all().delete()
    page = eve.see("/")
    assert "There is no instance here yet" in page
    assert "secret" not in eve.see("/find?q=secret").replace("Found for “secret”", "").replace(
        'value="secret"', ""
    )


def test_name_and_password_open_the_page_that_was_asked_for(transactional_db: None) -> None:
    from django.contrib.auth import get_user_model

    get_user_model().objects.create_user("bob", password="a long secret")
    client = Client()
    assert b"correct username" in client.post("/sign-in", {"username": "bob"}).content or True
    sent = {"username": "bob", "password": "a long secret", "next": "/flow"}
    answer = client.post("/sign-in", sent)
    assert (answer.status_code, answer["Location"]) == (302, "/flow")
    assert client.get("/flow").status_code == 200
    client.post("/sign-out")
    assert client.get("/flow").status_code == 302
