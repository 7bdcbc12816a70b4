"""The buttons: what they would do is shown first, and they do what the interface does."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime

import pytest

from instances.lifecycle.actions import pause_instance
from instances.models import HopperInstance, Task
from instances.tasks.editing import update_task
from instances.tasks.questions import NewQuestion, ask
from instances.tasks.worker import claim_next, fail_task
from tests.factories import ALICE, InstanceFactory, TaskFactory
from tests.pages.conftest import SCRIPT, Person

Tree = dict[str, HopperInstance]


def status(instance: HopperInstance) -> str:
    instance.refresh_from_db()
    return str(instance.status)


def test_a_stop_shows_what_it_would_do_and_then_does_it(ada: Person, tree: Tree) -> None:
    TaskFactory(instance=tree["web-run"], title="Build the page")
    page = ada.see("/instances/web/stop")
    assert "It would change" in page
    assert "Build the page" in page
    assert status(tree["web"]) == "running"
    ada.press("/instances/web/stop")
    assert status(tree["web"]) == "stopped"


def test_a_termination_is_refused_with_its_reason_until_it_takes_all(
    ada: Person, tree: Tree
) -> None:
    TaskFactory(instance=tree["web-run"])
    assert "live instance" in ada.see("/instances/web/terminate")
    assert "terminated" in ada.see("/instances/web/terminate", cascade="on")
    ada.press("/instances/web/terminate", 409)
    assert status(tree["web"]) == "running"
    ada.press("/instances/web/terminate", cascade="on")
    assert status(tree["web"]) == "terminated"


def test_a_run_is_closed(ada: Person, tree: Tree) -> None:
    run = InstanceFactory(
        scope="ORCHESTRATION", parent=tree["web"], name="once", instance_type="ephemeral"
    )
    assert "Close the run" in ada.see("/instances/once/close")
    ada.press("/instances/once/close")
    assert status(run) == "terminated"


def test_a_move_names_the_rule_and_offers_legal_parents_only(ada: Person, tree: Tree) -> None:
    page = ada.see("/instances/web-run/move")
    assert "orchestration stands under" in page
    assert 'value="ops"' in page
    assert 'value="top"' not in page
    ada.press("/instances/web-run/move", parent_id="ops")
    tree["web-run"].refresh_from_db()
    assert tree["web-run"].parent_id == "ops"
    answer = ada.press("/instances/web-run/move", 422, parent_id="top")
    assert b'role="alert"' in answer.content


def test_a_task_is_added_at_a_row(ada: Person, tree: Tree) -> None:
    ada.press("/instances/top/add", title="Fix the form", tags="web, urgent", priority="high")
    task = Task.objects.get(title="Fix the form")
    assert (task.instance_id, task.tags, task.created_by) == ("web", ["web", "urgent"], "ada")
    answer = ada.press("/instances/top/add", 400, title=" ")
    assert b"title" in answer.content


def test_work_for_hands_is_taken_and_done(ada: Person, tree: Tree) -> None:
    task = TaskFactory(instance=tree["web"], executor_preference="human")
    ada.press(f"/tasks/{task.pk}/take")
    task.refresh_from_db()
    assert (task.status, task.worker) == ("in_progress", "ada")
    assert task.title in ada.see("/mine")
    ada.press(f"/tasks/{task.pk}/done", result="It works.")
    task.refresh_from_db()
    assert (task.status, task.result) == ("done", "It works.")


def test_nobody_takes_a_task_in_the_name_of_another(ada: Person, tree: Tree) -> None:
    task = TaskFactory(instance=tree["web"], executor_preference="human")
    ada.post(f"/tasks/{task.pk}/take", {"owner": "eve", "status": "done"})
    task.refresh_from_db()
    assert (task.status, task.worker) == ("in_progress", "ada")


def test_a_question_is_answered_by_its_choice(ada: Person, tree: Tree) -> None:
    task = TaskFactory(instance=tree["web-run"])
    (lease,) = claim_next("web-run", worker="bob", actor=ALICE).leases
    ask(task.pk, NewQuestion("Keep it?", ("Yes", "No")), token=lease.token, actor=ALICE)
    question = task.questions.get()
    page = ada.see("/attention")
    assert 'value="Yes"' in page
    ada.press(f"/tasks/{task.pk}/answer", question_id=question.pk, answer="Yes")
    question.refresh_from_db()
    assert (question.answer, question.answered_by) == ("Yes", "ada")
    assert "Keep it?" not in ada.see("/attention")


def test_a_dead_letter_is_retried_or_discarded(ada: Person, tree: Tree) -> None:
    made = [TaskFactory(instance=tree["web-run"]) for _ in range(2)]
    for lease in claim_next("web-run", worker="w", limit=2, actor=ALICE).leases:
        fail_task(lease.task.pk, token=lease.token, error="exit 2", retryable=False, actor=ALICE)
    assert ada.see("/attention").count("exit 2") == 2
    ada.press(f"/tasks/{made[0].pk}/retry")
    ada.press(f"/tasks/{made[1].pk}/discard")
    assert "exit 2" not in ada.see("/attention")
    assert Task.objects.get(pk=made[0].pk).status == "pending"


def test_a_cancellation_shows_the_children_that_end_too(ada: Person, tree: Tree) -> None:
    parent = TaskFactory(instance=tree["web"], title="All")
    child = TaskFactory(instance=tree["web"], title="Part", parent_id=parent.pk)
    page = ada.see(f"/tasks/{parent.pk}/cancel")
    assert "Part" in page
    ada.press(f"/tasks/{parent.pk}/cancel", reason="no longer")
    child.refresh_from_db()
    assert child.status == "cancelled"


def test_an_edit_shows_and_keeps_what_it_does_not_change(ada: Person, tree: Tree) -> None:
    task = TaskFactory(instance=tree["web"], title="Old", tags=["a", "b"], description="Why")
    page = ada.see(f"/tasks/{task.pk}/edit")
    assert 'value="a, b"' in page
    boxes = {"title": "New", "tags": "a, b", "description": "Why", "priority": "low"}
    ada.press(f"/tasks/{task.pk}/edit", **boxes, project="")
    task.refresh_from_db()
    assert (task.title, task.tags, task.priority) == ("New", ["a", "b"], "low")


FIRST = {"title": "Old", "description": "Why", "priority": "medium", "tags": "a", "project": ""}


def _edit(ada: Person, task: Task, status: int = 302, **boxes: str) -> str:
    """Send the form of an edit that showed FIRST, with some boxes edited; return the answer."""
    carried = {f"shown-{name}": value for name, value in FIRST.items()}
    answer = ada.press(f"/tasks/{task.pk}/edit", status, **FIRST | boxes, **carried)
    task.refresh_from_db()
    return str(answer.content.decode())


def test_an_edit_writes_what_the_person_edited_and_nothing_else(ada: Person, tree: Tree) -> None:
    words = {"title": "Old", "tags": ["a"], "description": "Why"}
    task = TaskFactory(instance=tree["web"], **words)
    page = ada.see(f"/tasks/{task.pk}/edit")
    assert 'name="shown-description" value="Why"' in page
    due = datetime(2030, 1, 1, 8, 0, 30, tzinfo=UTC)
    others = {"description": "Because", "tags": ["b, c"], "priority": "urgent", "due_at": due}
    update_task(task.pk, changes=others, actor=ALICE)
    _edit(ada, task, title="New")
    assert task.title == "New"
    assert {name: getattr(task, name) for name in others} == others


def test_an_edit_of_a_value_that_was_changed_meanwhile_shows_both_and_saves_nothing(
    ada: Person, tree: Tree
) -> None:
    task = TaskFactory(instance=tree["web"], title="Old", tags=["a"], description="Why")
    update_task(task.pk, changes={"title": "Theirs", "description": "Because"}, actor=ALICE)
    page = _edit(ada, task, 409, title="Mine")
    assert task.title == "Theirs"
    assert "Title is “Theirs” now; this form showed “Old”." in page
    for sent in ('name="title" value="Mine"', 'name="shown-title" value="Theirs"'):
        assert sent in page
    assert ">\nBecause</textarea>" in page
    ada.press(f"/tasks/{task.pk}/edit", title="Mine", **{"shown-title": "Theirs"})
    task.refresh_from_db()
    assert (task.title, task.description) == ("Mine", "Because")


def test_a_task_is_delegated_to_a_visible_instance(ada: Person, tree: Tree) -> None:
    task = TaskFactory(instance=tree["top"])
    assert 'value="web"' in ada.see(f"/tasks/{task.pk}/delegate")
    ada.press(f"/tasks/{task.pk}/delegate", target_instance_id="web")
    offer = task.delegations.get()
    assert offer.target_instance_id == "web"


def test_a_form_without_its_token_is_refused(
    ada: Person, tree: Tree, person: Callable[..., Person]
) -> None:
    ada.handler.enforce_csrf_checks = True
    ada.press("/instances/web/stop", 403)
    assert status(tree["web"]) == "running"


def test_a_link_alone_changes_nothing(ada: Person, tree: Tree) -> None:
    for verb in ("pause", "stop", "terminate", "close"):
        ada.get(f"/instances/web-run/{verb}")
    assert status(tree["web-run"]) == "running"
    assert ada.put("/instances/web-run/stop").status_code == 405


def test_the_script_gets_the_form_again_or_nothing(ada: Person, tree: Tree) -> None:
    assert ada.post("/instances/web/pause", headers=SCRIPT).status_code == 204
    answer = ada.post("/instances/web/pause", {}, headers=SCRIPT)
    assert answer.status_code in (204, 409)


@pytest.mark.parametrize("address", ["/instances/web/explode", "/tasks/nothing/cancel", "/tasks/x"])
def test_an_unknown_address_is_a_page(ada: Person, address: str) -> None:
    assert "There is nothing here that you may see" in ada.see(address, 404)


def test_an_instance_offers_what_its_state_allows(ada: Person, tree: Tree) -> None:
    assert "/instances/web/pause" in ada.see("/instances/web")
    pause_instance("web", actor=ALICE)
    page = ada.see("/instances/web")
    assert "/instances/web/resume" in page
    assert "/instances/web/pause" not in page


def test_a_comment_stands_on_the_page_of_its_task(ada: Person, tree: Tree) -> None:
    task = TaskFactory(instance=tree["web"])
    ada.press(f"/tasks/{task.pk}/comment", text="**Careful** with <b>")
    page = ada.see(f"/tasks/{task.pk}")
    assert "<strong>Careful</strong> with &lt;b&gt;" in page
