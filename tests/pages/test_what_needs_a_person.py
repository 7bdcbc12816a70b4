"""The attention page, the page of one task, and the flow: they tell the whole story."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import timedelta

import pytest
from django.utils import timezone

from delegation.delegator import Delegator
from delegation.pages.attention import KIND_WORDS
from delegation.pages.templatetags import shown
from instances import attention
from instances.choices import WaitingCode
from instances.models import Attempt, HopperInstance, Task
from instances.tasks.questions import NewQuestion, answer_question, ask
from instances.tasks.status_by_hand import set_status
from instances.tasks.worker import claim_next, complete_task, fail_task, heartbeat
from tests.factories import ALICE, TaskFactory
from tests.pages.conftest import Person

Tree = dict[str, HopperInstance]
HOUR = timedelta(hours=1)


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


def test_attention_is_narrowed_to_one_kind(ada: Person, tree: Tree) -> None:
    made = {
        "awaiting_triage": TaskFactory(instance=tree["top"], title="Triage me"),
        "manual_queue": TaskFactory(instance=tree["web"], executor_preference="human"),
        "blocked": TaskFactory(instance=tree["top"], required_capabilities=["gpu"]),
        "unassigned": TaskFactory(title="Nobody's"),
        "failed": failed(tree),
        "overdue": TaskFactory(instance=tree["web-run"], due_at=timezone.now() - HOUR),
        "due_soon": TaskFactory(instance=tree["web-run"], due_at=timezone.now() + HOUR),
        "stalled_progress": stalled(tree),
        "stale_hand_work": stale(tree),
    }
    assert made.keys() == set(attention.KINDS) == KIND_WORDS.keys()
    ids = {kind: task.pk for kind, task in made.items()}
    for kind in attention.KINDS:
        assert listed(ada.see("/attention", kind=kind)) == [ids[kind]], kind
    assert "kind: must be one of" in ada.see("/attention", 400, kind="odd")
    page = ada.see("/attention")
    assert [page.count(f"kind={kind}") for kind in attention.KINDS] == [1] * len(made)


def test_all_listed_dead_letters_are_retried_or_discarded_together(
    ada: Person, tree: Tree, person: Callable[..., Person]
) -> None:
    tasks = [failed(tree), failed(tree), failed(tree, "ops-run")]
    page = ada.see("/attention", kind="failed")
    ids = re.findall(r'name="task" value="([^"]+)"', page)
    assert sorted(ids) == sorted(task.pk for task in tasks)
    olga = person("olga", "operator", tree["web"])
    olga.press("/attention?kind=failed", task=ids)
    words = plain(olga.see("/attention", kind="failed"))
    assert "Retry: 2 done. 1 refused." in words
    assert [Task.objects.get(pk=task.pk).status for task in tasks] == ["pending"] * 2 + ["failed"]
    ada.press("/attention?kind=failed", task=ids, discard="1")
    assert "Discard: 1 done. 2 refused." in plain(ada.see("/attention"))


def failed(tree: Tree, place: str = "web-run") -> Task:
    """Return a task that failed for good."""
    task = TaskFactory(instance=tree[place])
    (lease,) = claim_next(place, worker="bob", actor=ALICE).leases
    fail_task(task.pk, token=lease.token, error="no", retryable=False, actor=ALICE)
    return task


def stalled(tree: Tree) -> Task:
    """Return a task whose worker has reported nothing for two hours."""
    TaskFactory(instance=tree["ops-run"])
    (lease,) = claim_next("ops-run", worker="bob", actor=ALICE).leases
    Attempt.objects.filter(task=lease.task).update(started_at=timezone.now() - 2 * HOUR)
    return lease.task


def stale(tree: Tree) -> Task:
    """Return work by hand that nobody has touched for two days."""
    task = TaskFactory(instance=tree["web"], executor_preference="human")
    set_status(task.pk, status="in_progress", owner="bob", actor=ALICE)
    long_ago = timezone.now() - 48 * HOUR
    Task.objects.filter(pk=task.pk).update(created_at=long_ago, updated_at=long_ago)
    return task


def listed(page: str) -> list[str]:
    """Return the ids of the tasks on the attention page."""
    return re.findall(r'<article id="t-([^"]+)"', page)


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


def test_the_flow_of_one_subtree(ada: Person, tree: Tree, person: Callable[..., Person]) -> None:
    for place in ("web-run", "ops-run"):
        failed(tree, place)
    assert "Failed <b>2</b>" in ada.see("/flow")
    page = ada.see("/flow", under="web", window="24h")
    assert "Failed <b>1</b>" in page
    assert 'href="/flow?window=7d&amp;under=web"' in page
    assert 'href="/flow?under=web"' in ada.see("/instances/web")
    olga = person("olga", "viewer", tree["web"])
    assert "Failed <b>1</b>" in olga.see("/flow", under="web-run")
    olga.see("/flow", 404, under="ops")


def test_the_flow_counts_each_end_once(ada: Person, tree: Tree) -> None:
    for _ in range(3):
        TaskFactory(instance=tree["web-run"])
    for lease in claim_next("web-run", worker="w", limit=2, actor=ALICE).leases:
        complete_task(lease.task.pk, token=lease.token, actor=ALICE)
    for window in ("1h", "24h", "7d"):
        words = plain(ada.see("/flow", window=window))
        assert "Done 2" in words
        assert "Of 2 tasks." in words
    assert "window: must be one of" in ada.see("/flow", 400, window="nonsense")


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
