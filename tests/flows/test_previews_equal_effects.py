"""A preview of a stop, an end, a close-out or a cancellation names every effect."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest

from instances.choices import TERMINAL, TaskStatus
from instances.models import HopperInstance, Task
from instances.tree.reads import effective_statuses
from instances.waiting import waiting_on
from tests.api.conftest import Caller, ada, caller
from tests.flows.forest import Forest
from tests.flows.rows import (
    Copy,
    Key,
    differences,
    empty,
    everything,
    held_off,
    multiply_tasks,
    noted,
)
from tests.soundness import unsound

__all__ = ["ada", "caller"]

pytestmark = [pytest.mark.storm, pytest.mark.django_db(transaction=True)]

ASKED: list[tuple[str, dict[str, Any]]] = [
    ("stop", {"evacuate": True}),
    ("terminate", {"cascade": True}),
    ("cancel", {"reason": "x"}),
    ("stop", {"force": True, "evacuate": True}),
    ("close", {"force": True}),
    ("stop", {}),
    ("stop", {"force": True}),
    ("terminate", {}),
    ("close", {}),
]
FATES = {
    *("stopped", "effectively_stopped", "terminated"),
    *("cancelled", "put_back", "lease_revoked", "offer_cancelled", "moved"),
    *("due", "waits", "evacuated", "target_stopped", "target_terminated", "task_cancelled"),
    *("evicted", "refused"),
}
"""An expected effect in one of the trees."""

SHOWN: dict[str, dict[str, str]] = {
    "instances": {"status": "status"},
    "tasks": {
        "status": "status",
        "instance_id": "instance_id",
        "offered_to_id": "offered_to",
        "parent_id": "parent_id",
        "root_id": "root_id",
        "route_due": "route_due",
        "decomposed": "decomposed",
        "worker": "worker",
        "error": "error",
    },
    "delegations": {"status": "status", "reason": "reason"},
    "attempts": {"outcome": "outcome"},
}
"""The columns that a preview shows, and what it calls them."""

IMPLIED: dict[str, set[str]] = {
    "instances": {"updated_at", "stopped_at"},
    "tasks": {
        *("updated_at", "finished_at", "waiting", "result"),
        *("lease_holder", "lease_seconds", "lease_expires_at"),
    },
    "delegations": {"completed_at", "answered_by", "result"},
    "attempts": {"ended_at", "error"},
}
"""The columns that change with those, at a row that is shown: the time, the lease, the reason's
details, a parent's summary of its children."""

Announced = dict[Key, dict[str, tuple[Any, Any]]]


class Action:
    """One thing to ask for, to be previewed or to be done."""

    def __init__(self, kind: str, target: str, **options: Any) -> None:
        self.kind, self.target, self.options = kind, target, options

    def __repr__(self) -> str:
        return f"{self.kind} {self.target} {self.options}"

    def ask(self, ada: Caller, *, preview: bool) -> Any:
        """Return the answer."""
        asked = {**self.options, **({"preview": True} if preview else {})}
        noun = "tasks" if self.kind == "cancel" else "instances"
        if self.kind != "terminate":
            return ada.call("POST", f"/{noun}/{self.target}/{self.kind}", asked)
        query = "&".join(f"{name}=true" for name in asked)
        return ada.call("DELETE", f"/instances/{self.target}?{query}")


def announced(told: dict[str, Any]) -> Announced:
    """Return what a preview says, by row."""
    found: Announced = {}
    for kind in SHOWN:
        for change in told[kind]:
            name = f"{change['task_id']} {change['number']}" if kind == "attempts" else change["id"]
            before, after = change["before"], change["after"]
            assert before.keys() == after.keys()
            found[kind, name] = {field: (before[field], after[field]) for field in before}
    return found


def derived() -> dict[Key, dict[str, Any]]:
    """Return what follows from the rows and is shown of them: statuses in effect, reasons."""
    effective = effective_statuses(HopperInstance.objects.values_list("pk", flat=True))
    tasks = list(Task.objects.all())
    reasons = waiting_on(tasks)
    found: dict[Key, dict[str, Any]] = {
        ("instances", pk): {"effective_status": status} for pk, status in effective.items()
    }
    for task in tasks:
        reason = reasons[task.pk]["code"] if task.pk in reasons else None
        leased = task.lease_token is not None
        found["tasks", task.pk] = {"waiting_on": reason, "leased": leased}
    return found


def happening(act: Callable[[], Any], told: Announced, *, follow: bool) -> Announced:
    """Do it, nothing following yet, and return what became of all rows, as a preview says it.

    Without `follow` nothing ever does, as after a crash.

    Whatever is not shown of a row may only be what is implied, at a row that is announced.
    """
    rows, more = noted(), derived()
    with held_off() as following:
        act()
    changed = differences(rows, noted())
    found: Announced = {}
    for (kind, name), columns in changed.items():
        shown = {SHOWN[kind][key]: pair for key, pair in columns.items() if key in SHOWN[kind]}
        silent = columns.keys() - SHOWN[kind].keys() - IMPLIED[kind]
        if kind == "instances":
            # The summary of a run, in its own record and in its parent's.
            silent -= {"runtime_metadata"}
            if columns.keys() == {"runtime_metadata"}:
                continue
        assert not silent, (kind, name, columns)
        assert (kind, name) in told, (kind, name, columns)
        found[kind, name] = shown
    for key, fields in differences(more, derived()).items():
        found.setdefault(key, {}).update(fields)
    for call in following if follow else ():
        call()
    return found


def prove(ada: Caller, action: Action, *, follow: bool = True) -> Counter[str]:
    """Preview an action, do it, and compare; return what was said of it, in words."""
    before = everything()
    told = action.ask(ada, preview=True)
    assert differences(before, everything()) == {}, action
    if told.status_code != 200:
        done = action.ask(ada, preview=False)
        assert (done.status_code, done.json()) == (told.status_code, told.json()), action
        assert differences(before, everything()) == {}, action
        return Counter(["refused"])
    preview = told.json()
    said = announced(preview)
    answers: list[Any] = []
    seen = happening(lambda: answers.append(action.ask(ada, preview=False)), said, follow=follow)
    expected = (409,) if preview.get("refused") else (200, 204)
    assert answers[0].status_code in expected, (action, answers[0].content)
    assert seen == said, action
    assert preview["hidden"] == 0
    words: Counter[str] = Counter()
    for kind in SHOWN:
        tally = Counter(word for change in preview[kind] for word in change["what"])
        assert preview["counts"][kind] == tally
        words += tally
    return words


def nobody_holds_work_at_the_dead() -> bool:
    held = Task.objects.exclude(status__in=TERMINAL).filter(instance__status="terminated")
    offered = Task.objects.filter(offered_to__status="terminated")
    return not held.exists() and not offered.exists()


def faults() -> list[Any]:
    """Return what the audit finds, but for how long a task was left due on purpose."""
    return [finding for finding in unsound() if finding.invariant != "I21"]


def random_action(kind: str, options: dict[str, Any], die: random.Random) -> Action:
    """Return that action on any instance or task, legal or not, mostly where there is work."""
    if kind == "cancel":
        tasks = Task.objects.order_by("pk")
        parents = tasks.filter(decomposed=True)
        chosen = parents if die.random() < 0.6 and parents.exists() else tasks
        return Action(kind, die.choice(list(chosen.values_list("pk", flat=True))), **options)
    rows = HopperInstance.objects.order_by("pk")
    busy = rows.filter(incoming_delegations__status="accepted").distinct()
    if kind == "close":
        busy = rows.filter(instance_type="ephemeral")
    chosen = busy if die.random() < 0.7 and busy.exists() else rows
    return Action(kind, die.choice(list(chosen.values_list("pk", flat=True))), **options)


def test_a_preview_is_the_effect_on_random_trees(ada: Caller, storm: Callable) -> None:
    seen: Counter[str] = Counter()
    for seed in range(storm(12, 200)):
        die = random.Random(seed)
        empty()
        forest = Forest(die, projects=die.randint(1, 2), runs=die.randint(1, 2))
        forest.grow(die.randint(5, 14))
        forest.unsettle()
        total = Task.objects.count()
        for wanted in (ASKED[seed % len(ASKED)], die.choice(ASKED)):
            action = random_action(*wanted, die)
            seen += prove(ada, action)
        assert Task.objects.count() == total
        assert nobody_holds_work_at_the_dead()
        assert faults() == [], (seed, action)
    assert seen.keys() >= FATES, FATES - seen.keys()


def test_previews_of_a_thousand_tasks_in_all_states_equal_their_effects(
    ada: Caller, storm: Callable
) -> None:
    forest = Forest(random.Random(1), projects=3, runs=2)
    forest.grow(125)
    multiply_tasks(8)
    total, kept = Task.objects.count(), Copy()
    assert total >= 1000
    assert {*Task.objects.values_list("status", flat=True)} == {*TaskStatus.values}
    reasons = {reason["code"] for reason in waiting_on(list(Task.objects.all())).values()}
    assert len(reasons) >= 14, reasons
    # The short run takes the first two.
    actions = [
        Action("stop", "top", force=True),
        Action("terminate", "p1", cascade=True),
        Action("stop", "top"),
        Action("stop", "p0", evacuate=True),
        Action("stop", "p0", force=True, evacuate=True),
        Action("stop", "top", evacuate=True),
        Action("terminate", "top", cascade=True),
    ]
    for action in actions[: storm(2, 7)]:
        kept.put_back()
        assert prove(ada, action, follow=False)
        assert Task.objects.count() == total
        assert nobody_holds_work_at_the_dead()
        assert faults() == [], action
        if "force" in action.options:
            assert not Task.objects.in_subtree(action.target).leased().exists()
