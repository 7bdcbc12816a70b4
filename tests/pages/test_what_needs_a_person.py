"""The attention page, the page of one task, and the flow: they tell the whole story."""

from __future__ import annotations

import re

import pytest

from delegation.delegator import Delegator
from delegation.pages.templatetags import shown
from instances import attention
from instances.choices import WaitingCode
from instances.models import HopperInstance, Task
from instances.tasks.questions import NewQuestion, answer_question, ask
from instances.tasks.status_by_hand import set_status
from instances.tasks.worker import claim_next, complete_task, fail_task, heartbeat
from tests.factories import ALICE, TaskFactory
from tests.pages.conftest import Person

Tree = dict[str, HopperInstance]


def plain(page: str) -> str:
    """Return the words of a page."""
    return " ".join(re.sub(r"<[^>]+>", " ", page).split())


def test_attention_groups_by_the_person_who_can_act(ada: Person, tree: Tree) -> None:
    TaskFactory(instance=tree["top"], title="Triage me")
    TaskFactory(instance=tree["web"], title="Take me", executor_preference="human")
    TaskFactory(instance=tree["top"], title="Unroutable", required_capabilities=["gpu"])
    TaskFactory(title="Nobody's")
    words = plain(ada.see("/attention"))
    assert "A person at web 1 to take Take me" in words
    assert "needs a missing capability Unroutable" in words
    assert "to triage Triage me" in words
    assert "no instance Nobody" in words
    assert ada.see("/attention").startswith("<!doctype html>")
    assert "<title>(4) Attention" in ada.see("/attention")


def test_every_reason_has_plain_words() -> None:
    codes = {value for name, value in vars(attention).items() if name.isupper() and name[0] != "_"}
    wanted = {*WaitingCode.values, *(one for one in codes if isinstance(one, str))}
    assert shown.LABELS.keys() == wanted
    assert all(words[0].islower() for words in shown.LABELS.values())


def test_an_idle_attention_says_so(ada: Person) -> None:
    page = ada.see("/attention")
    assert "Nothing waits for a person" in page
    assert "<title>Attention" in page


def test_a_refused_task_shows_who_refused_and_why(ada: Person, tree: Tree) -> None:
    task = TaskFactory(instance=tree["top"])
    for place in ("web", "ops"):
        offer = Delegator(ALICE).delegate_task(task.pk, place).delegation
        Delegator(ALICE).reject_delegation(offer.pk, reason=f"{place} is too busy")
    words = plain(ada.see(f"/tasks/{task.pk}"))
    assert "Offered to web by top" in words
    assert "web is too busy" in words
    assert "ops is too busy" in words


def test_the_way_of_a_task_from_its_origin_to_its_result(ada: Person, tree: Tree) -> None:
    task = TaskFactory(instance=tree["top"], tags=["web"], complexity=4, title="Long way")
    set_status(task.pk, status="in_progress", owner="bob", actor=ALICE)
    words = plain(ada.see(f"/tasks/{task.pk}"))
    assert "Came in at top by alice" in words
    assert "candidate" in words
    complete_task(task.pk, result={"files": 3}, actor=ALICE)
    words = plain(ada.see(f"/tasks/{task.pk}"))
    assert "&quot;files&quot;: 3" in words
    assert "Done" in words


def test_attempts_and_questions_stand_in_the_way(ada: Person, tree: Tree) -> None:
    task = TaskFactory(instance=tree["web-run"])
    (lease,) = claim_next("web-run", worker="bob", actor=ALICE).leases
    heartbeat(task.pk, token=lease.token, progress=0.5, checkpoint={"page": 7}, actor=ALICE)
    assert '<progress max="1" value="0.5">' in ada.see(f"/tasks/{task.pk}")
    ask(task.pk, NewQuestion("Which colour?"), token=lease.token, actor=ALICE)
    assert "Which colour?" in ada.see(f"/tasks/{task.pk}")
    answer_question(task.pk, task.questions.get().pk, answer="Blue", actor=ALICE)
    (again,) = claim_next("web-run", worker="carol", actor=ALICE).leases
    fail_task(task.pk, token=again.token, error="exit 1", retryable=False, actor=ALICE)
    words = plain(ada.see(f"/tasks/{task.pk}"))
    for part in ("Attempt 1 by bob", "Which colour?", "Blue", "Attempt 2 by carol", "exit 1"):
        assert part in words


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("**bold**", "<strong>bold</strong>"),
        ("<script>alert(1)</script>", "&lt;script&gt;"),
        ("<img src=x onerror=alert(1)>", "&lt;img"),
        ("[x](javascript:alert(1))", "[x](javascript:alert(1))"),
        ("[x](data:text/html,hi)", "[x](data:text/html,hi)"),
        ("![x](https://evil.example/pixel.png)", "!<a"),
        ("[x](https://example.org)", 'rel="noopener noreferrer nofollow"'),
        ("| a |\n|---|\n| b |", "<td>b</td>"),
        ("`<b>`", "<code>&lt;b&gt;</code>"),
    ],
)
def test_a_description_is_shown_as_safe_markdown(
    ada: Person, tree: Tree, text: str, shown: str
) -> None:
    task = TaskFactory(instance=tree["web"], description=text)
    page = ada.see(f"/tasks/{task.pk}")
    assert shown in page
    assert "<script>" not in page
    assert "<img" not in page


def test_children_and_predecessors_are_listed_with_progress(ada: Person, tree: Tree) -> None:
    parent = TaskFactory(instance=tree["web"], title="All of it")
    first = TaskFactory(instance=tree["web"], title="First part", parent_id=parent.pk)
    TaskFactory(instance=tree["web"], title="Later", depends_on=[first.pk])
    set_status(first.pk, status="done", force=True, actor=ALICE)
    assert "1 of 1 children ended" in plain(ada.see(f"/tasks/{parent.pk}"))
    page = plain(ada.see(f"/tasks/{first.pk}"))
    assert re.search(r"part of [a-z ]+ All of it", page)
    assert "before pending Later" in page


def test_the_flow_counts_each_end_once(ada: Person, tree: Tree) -> None:
    for _ in range(3):
        TaskFactory(instance=tree["web-run"])
    for lease in claim_next("web-run", worker="w", limit=2, actor=ALICE).leases:
        complete_task(lease.task.pk, token=lease.token, actor=ALICE)
    for window in ("1h", "24h", "7d"):
        words = plain(ada.see("/flow", window=window))
        assert "Done 2" in words
        assert "Of 2 tasks." in words
    assert "Failed 0" in plain(ada.see("/flow", window="nonsense"))


def test_search_finds_instances_and_tasks(ada: Person, tree: Tree) -> None:
    task = TaskFactory(instance=tree["web"], title="Paint the fence")
    assert "Paint the fence" in ada.see("/find", q="fence")
    assert "Paint the fence" in ada.see("/find", q=task.pk)
    assert 'href="/instances/web-run"' in ada.see("/find", q="WEB-")
    assert "Type a part" in ada.see("/find")


def test_each_moment_has_its_exact_time(ada: Person, tree: Tree) -> None:
    task = Task.objects.get(pk=TaskFactory(instance=tree["web"]).pk)
    exact = f"{task.created_at:%Y-%m-%d %H:%M:%S} UTC"
    assert f'title="{exact}"' in ada.see(f"/tasks/{task.pk}")
