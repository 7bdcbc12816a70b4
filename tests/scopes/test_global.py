"""GLOBAL sends a task to the child that project, tags, words or rules match, or keeps it."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from scopes.decisions import CreateChild, Decision, Refuse, SendTo, Stay
from tests.scopes.facts import decide, instance, outcome, task

WEB = instance("web", can=("python", "web"), domains=("login", "css"))
OPS = instance("ops", can=("docker",), domains=("deployment",))


@pytest.mark.parametrize(
    ("sentence", "what", "expected"),
    [
        ("a named project wins over tags", task(project="ops", tags=["python"]), "ops"),
        ("a project is named whatever the case", task(project="OPS"), "ops"),
        ("a tag meets a capability", task(tags=["Docker"]), "ops"),
        ("a word of the title meets a domain", task("Fix the login"), "web"),
        ("a word of the description counts too", task(description="new css"), "web"),
        ("a part of a word is no word", task("Re-logins everywhere"), "AwaitingTriage"),
        ("two tags outweigh one", task(tags=["docker", "python", "web"]), "web"),
        ("a tag outweighs a word", task("Fix the login", tags=["docker"]), "ops"),
        ("a task that matches no child is triaged", task("Walk the dog"), "AwaitingTriage"),
        ("a required capability speaks", task(required_capabilities=["docker"]), "ops"),
        ("nobody has the capability", task(required_capabilities=["gpu"]), "CapabilityGap"),
        ("nobody has it, tags or not", task(tags=["web"], required_capabilities=["gpu"]),
         "CapabilityGap"),
        ("the named one lacks it", task(project="web", required_capabilities=["docker"]),
         "CapabilityGap"),
    ],
)  # fmt: skip
def test_a_task_goes_where_it_should(sentence: str, what, expected: str) -> None:
    assert outcome(decide(what, WEB, OPS)) == expected, sentence


@pytest.mark.parametrize(
    ("sentence", "child", "expected", "explicit"),
    [
        ("a running one", WEB, "web", "web"),
        ("one that was never started is offered to, and waits", "created", "web", "web"),
        ("a paused one is left out", "paused", "Unroutable", "Unroutable"),
        ("a stopped one is left out", "stopped", "Unroutable", "Unroutable"),
        ("one in error is left out", "error", "Unroutable", "Unroutable"),
        ("one that refused is not asked again", replace(WEB, barred="excluded"), "Unroutable",
         "ExplicitTargetRefused"),
        ("one on the path is never asked", replace(WEB, barred="on_path"), "Unroutable",
         "Unroutable"),
        ("a full one is left out", replace(WEB, queued=100), "Unroutable", "Unroutable"),
    ],
)  # fmt: skip
def test_hard_filters_leave_out(sentence: str, child, expected: str, explicit: str) -> None:
    if isinstance(child, str):
        child = replace(WEB, effective_status=child)
    assert outcome(decide(task(tags=["python"]), child, OPS)) == expected, sentence
    assert outcome(decide(task(project="web", tags=["docker"]), child, OPS)) == explicit, sentence


def test_a_refusal_names_each_candidate_and_its_filter() -> None:
    decision = decide(task(tags=["python"]), replace(WEB, queued=100), OPS)
    assert isinstance(decision, Refuse)
    assert decision.reasons == ("no candidate is left", "web: capacity QueueFull")
    assert {one.instance_id: one.fits for one in decision.considered} == {"web": False, "ops": True}


def test_the_next_best_takes_over_when_the_best_refused() -> None:
    half = instance("half", can=("python",))
    what = task(tags=["python", "web"])
    assert outcome(decide(what, WEB, half)) == "web"
    assert outcome(decide(what, replace(WEB, barred="excluded"), half)) == "half"


def test_equal_candidates_are_ordered_by_load_then_turn_then_id() -> None:
    a, b = instance("a", can=("x",)), instance("b", can=("x",))
    what = task(tags=["x"])
    assert outcome(decide(what, b, a)) == "a"
    early, late = datetime(2026, 1, 1, tzinfo=UTC), datetime(2026, 1, 2, tzinfo=UTC)
    turns = replace(a, last_assigned_at=late), replace(b, last_assigned_at=early)
    assert outcome(decide(what, *turns)) == "b"
    assert outcome(decide(what, turns[0], replace(turns[1], open_tasks=1))) == "a"
    roomy = instance("b", can=("x",), config={"max_concurrent_tasks": 40}, open_tasks=2)
    assert outcome(decide(what, replace(a, open_tasks=1), roomy)) == "b"
    assert outcome(decide(what, replace(a, effective_status="created"), b)) == "b"


def test_balance_gives_the_unmatched_to_the_least_loaded() -> None:
    top = instance("top", "GLOBAL", config={"unmatched": "balance"})
    decision = decide(task("Walk the dog"), replace(WEB, open_tasks=1), OPS, at=top)
    assert outcome(decision) == "ops"
    assert outcome(decide(task("Walk the dog"), at=top)) == "AwaitingTriage"
    full = replace(WEB, queued=100), replace(OPS, queued=100)
    assert outcome(decide(task("Walk the dog"), *full, at=top)) == "Unroutable"


@pytest.mark.parametrize("projects", [5])
def test_a_thousand_equal_tasks_over_five_equal_projects(projects: int) -> None:
    children = [instance(f"p{n}", can=("x",)) for n in range(projects)]
    for turn in range(1000):
        chosen = outcome(decide(task(tags=["x"]), *children))
        at = datetime.fromtimestamp(turn, UTC)
        children = [
            replace(one, open_tasks=one.open_tasks + 1, last_assigned_at=at)
            if one.id == chosen
            else one
            for one in children
        ]
    loads = [one.open_tasks for one in children]
    assert max(loads) - min(loads) <= 1


@pytest.mark.parametrize(
    ("sentence", "word", "expected"),
    [
        ("a new name is created, in lower case", "Payments", "payments"),
        ("a letter missing", "payment", "AmbiguousTarget"),
        ("a letter too many", "paymentss", "AmbiguousTarget"),
        ("two letters swapped", "paymetns", "AmbiguousTarget"),
        ("a replaced letter is another name", "team-b", "team-b"),
        ("a digit is another name", "web2", "web2"),
        ("a digit too many is another name", "web11", "web11"),
        ("a digit missing is another name", "web", "web"),
        ("a terminated one is not made again", "Old", "ExplicitTargetMissing"),
        ("no slug, no project", "My Project!", "ExplicitTargetMissing"),
        ("the instance itself is no child", "hopper-global", "AwaitingTriage"),
    ],
)
def test_the_typo_guard(sentence: str, word: str, expected: str) -> None:
    live = [instance("team-a"), instance("web1")]
    if word != "Payments":
        live.append(instance("payments"))
    decision = decide(task(project=word), *live, terminated=("old",))
    assert outcome(decision) == expected, sentence
    if expected == "AmbiguousTarget":
        assert "did you mean payments?" in decision.reasons[0]
    if isinstance(decision, CreateChild):
        assert (decision.scope, decision.instance_type) == ("PROJECT", "persistent")


def test_projects_are_created_only_where_allowed_and_at_most_twenty_an_hour() -> None:
    off = instance("top", "GLOBAL", config={"auto_create_projects": False})
    assert outcome(decide(task(project="new"), at=off)) == "ExplicitTargetMissing"
    assert outcome(decide(task(project="new"), created_last_hour=19)) == "new"
    assert outcome(decide(task(project="new"), created_last_hour=20)) == "ExplicitTargetMissing"


def test_a_decision_says_how_sure_it_is() -> None:
    decision: Decision = decide(task(tags=["docker"]), WEB, OPS)
    assert isinstance(decision, SendTo)
    assert (decision.confidence, decision.score) == (1.0, 2.0)
    twin = instance("twin", can=("docker",))
    assert decide(task(tags=["docker"]), twin, OPS).confidence == 0.5
    assert isinstance(decide(task()), Stay)
