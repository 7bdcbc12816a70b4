"""A project decides first: by hand, or which orchestration (R9)."""

from __future__ import annotations

from dataclasses import asdict, replace

import pytest

from scopes.decisions import CreateChild, SendTo
from tests.scopes.facts import decide, instance, outcome, task
from tests.scopes.winners import winner_of

HOME = instance("web", can=("python",), config={"automatable_types": ["migration"]})
RUN = instance("web-run-001", "ORCHESTRATION", can=("python",))
GPU = instance("web-run-002", "ORCHESTRATION", can=("gpu",), open_tasks=5)


@pytest.mark.parametrize(
    ("sentence", "what", "expected"),
    [
        ("no reason means manual", task(), "ManualQueue"),
        ("complexity below the threshold is no reason", task(complexity=2), "ManualQueue"),
        ("complexity at the threshold is one", task(complexity=3), "web-run-001"),
        ("an automatable type is one", task(task_type="migration"), "web-run-001"),
        ("another type is none", task(task_type="talk"), "ManualQueue"),
        ("the preference is one", task(executor_preference="orchestration"), "web-run-001"),
        ("a human preference beats every reason",
         task(executor_preference="human", complexity=5), "ManualQueue"),
        ("a capability that only a run has is one",
         task(required_capabilities=["gpu"]), "web-run-002"),
        ("an own capability is none", task(required_capabilities=["Python"]), "ManualQueue"),
        ("a capability that nobody has goes up",
         task(required_capabilities=["fpga"]), "CapabilityGap"),
        ("complex and nobody can", task(complexity=4, required_capabilities=["fpga"]),
         "CapabilityGap"),
        ("the project's own name is only a label", task(project="web"), "ManualQueue"),
    ],
)  # fmt: skip
def test_a_project_decides_first(sentence: str, what, expected: str) -> None:
    home = replace(HOME, subtree_capabilities=frozenset({"python", "gpu"}))
    assert outcome(decide(what, RUN, GPU, at=home)) == expected, sentence


def test_load_alone_chooses_between_orchestrations() -> None:
    other = replace(RUN, id="other", open_tasks=1)
    assert outcome(decide(task(complexity=5), RUN, other, at=HOME)) == "web-run-001"
    busy = replace(RUN, open_tasks=2)
    assert outcome(decide(task(complexity=5), busy, other, at=HOME)) == "other"


@pytest.mark.parametrize("scope", ["PROJECT", "PERSONAL", "EVENT"])
def test_a_task_that_only_a_child_can_do_goes_to_that_child(scope: str) -> None:
    home = instance("home", scope, below=("cuda",))
    lab = instance("lab", "EVENT" if scope == "PROJECT" else "PROJECT", below=("cuda",))
    busy = replace(lab, id="busy", open_tasks=9)
    what = task(required_capabilities=["CUDA"], complexity=5)
    decision = decide(what, busy, lab, at=home)
    assert outcome(decision) == "lab"
    assert "lab, or what is below it, has all that is required" in decision.reasons
    assert winner_of([asdict(one) for one in decision.considered]) == "lab"
    refused = replace(lab, barred="excluded")
    assert outcome(decide(what, refused, at=home)) == "Unroutable"
    asleep = instance("asleep", "ORCHESTRATION", "created", can=("cuda",))
    assert outcome(decide(what, lab, asleep, at=home)) == "Unroutable", "the run is waited for"
    for gone in (
        replace(asleep, effective_status="stopped"), replace(asleep, barred="excluded"),
    ):  # fmt: skip
        assert outcome(decide(what, lab, gone, at=home)) == "lab", "this run is not"
    human = replace(what, executor_preference="human")
    assert outcome(decide(human, lab, at=home)) == "ManualQueue"


@pytest.mark.parametrize(
    ("sentence", "place", "runs", "config"),
    [
        ("create_orchestrations is off", {}, [], {"create_orchestrations": False}),
        ("delegate_to leaves orchestrations out", {}, [], {"delegate_to": ["EVENT"]}),
        ("there are 1 of at most 1", {}, [replace(RUN, queued=100)], {"max_orchestrations": 1}),
        ("web stands on the last of 8 levels", {"level": 8}, [], {}),
        ("a run here refused the task", {}, [replace(RUN, barred="excluded")], {}),
    ],
)
def test_the_reasons_say_why_no_run_is_created(sentence: str, place, runs, config) -> None:
    home = replace(instance("web", config=config), **place)
    decision = decide(task(complexity=5), *runs, at=home)
    assert outcome(decision) == "ManualQueue"
    assert decision.reasons[-1] == f"no run is created: {sentence}"


@pytest.mark.parametrize(
    ("sentence", "runs", "config", "expected"),
    [
        ("no run yet", [], {}, "web-run-001"),
        ("a run that is full", [replace(RUN, queued=100)], {}, "web-run-002"),
        ("a run that does not run", [replace(RUN, effective_status="paused")], {}, "web-run-002"),
        ("a run that refused", [replace(RUN, barred="excluded")], {}, "ManualQueue"),
        ("creating is off", [], {"create_orchestrations": False}, "ManualQueue"),
        ("the limit is reached", [replace(RUN, queued=100)], {"max_orchestrations": 1},
         "ManualQueue"),
        ("and nobody does it by hand", [],
         {"create_orchestrations": False, "manual_fallback": False}, "Unroutable"),
    ],
)  # fmt: skip
def test_an_orchestration_is_created_within_the_limit(
    sentence: str, runs, config, expected: str
) -> None:
    decision = decide(task(complexity=5), *runs, at=instance("web", config=config))
    assert outcome(decision) == expected, sentence
    if isinstance(decision, CreateChild):
        assert (decision.scope, decision.instance_type) == ("ORCHESTRATION", "ephemeral")


def test_a_run_is_never_named_like_one_that_was() -> None:
    decision = decide(task(complexity=5), at=HOME, terminated=("web-run-007", "web-run-x"))
    assert outcome(decision) == "web-run-008"


def test_without_a_reason_manual_fallback_does_not_matter() -> None:
    home = instance("web", config={"manual_fallback": False})
    assert outcome(decide(task(), at=home)) == "ManualQueue"


def test_an_orchestration_keeps_what_it_has() -> None:
    run = replace(RUN)
    assert outcome(decide(task(complexity=5), at=run)) == "ReadyForWorker"


@pytest.mark.parametrize("scope", ["PERSONAL", "EVENT"])
def test_the_plain_ones_decide_as_a_project(scope: str) -> None:
    at = instance("mine", scope)
    assert outcome(decide(task(), RUN, at=at)) == "ManualQueue"
    assert outcome(decide(task(complexity=4), RUN, at=at)) == RUN.id
    assert outcome(decide(task(project="shed"), instance("shed"), at=at)) == "shed"


@pytest.mark.parametrize(
    ("sentence", "what", "expected"),
    [
        ("a list is named", task(project="groceries"), "groceries"),
        ("a member owns it", task(owner="Ann"), "ann"),
        ("a list's words", task("Buy milk"), "groceries"),
        ("a member who is away", task(owner="bob"), "ManualQueue"),
        ("a task owned by one member never goes to another",
         task(owner="bob", required_capabilities=["driving"]), "Unroutable"),
        ("a task without a reason for a run", task("Call grandma"), "ManualQueue"),
        ("nobody is able", task(required_capabilities=["plumbing"]), "CapabilityGap"),
    ],
)  # fmt: skip
def test_a_family_knows_its_members_and_lists(sentence: str, what, expected: str) -> None:
    members = [
        instance("ann", "PERSONAL", can=("driving",)),
        instance("bob", "PERSONAL", "paused", can=("driving",)),
    ]
    lists = [instance("groceries", domains=("milk",))]
    decision = decide(what, *members, *lists, at=instance("us", "FAMILY", below=("driving",)))
    assert outcome(decision) == expected, sentence


def test_nothing_goes_to_a_federated_child_without_a_remote() -> None:
    away = instance("away", "FEDERATED", can=("x",))
    assert outcome(decide(task(tags=["x"]), away)) == "Unroutable"
    assert outcome(decide(task(), at=away)) == "Unroutable"
    assert not isinstance(decide(task(project="away"), away), SendTo)
