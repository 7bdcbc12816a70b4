"""Ten thousand tasks through random trees rest where a router written in a hurry sends them."""

from __future__ import annotations

import random
from itertools import count
from typing import TYPE_CHECKING, Any

import pytest

from instances.lifecycle.actions import fail_instance, pause_instance, stop_instance
from instances.models import HopperInstance
from tests.factories import ALICE, InstanceFactory, TaskFactory
from tests.soundness import unsound

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = [pytest.mark.storm, pytest.mark.django_db(transaction=True)]

WORDS = ("python", "docker", "login")
CLOSE = {"paused": pause_instance, "stopped": stop_instance, "error": fail_instance}
TASKS_A_TREE = 10


class Node:
    """An instance as the naive router knows it."""

    def __init__(self, name: str, up: Node | None, status: str, **config: Any) -> None:
        self.name, self.up, self.config, self.kids = name, up, config, []
        self.status = max(status, up.own, key=GRAVE.index) if up and up.own != "created" else status
        self.own, self.held, self.turn = status, [], 0
        self.can = set(config.get("capabilities", up.can if up else ()))
        if up:
            up.kids.append(self)

    def load(self) -> float:
        held = len(self.held) + sum(len(kid.held) for kid in self.kids)
        return held / self.config.get("max_concurrent_tasks", 10)

    def able(self) -> set[str]:
        shut = ("stopped", "error")
        below = [] if self.own in shut else [kid.can for kid in self.kids if kid.own not in shut]
        return self.can.union(*below)


GRAVE = ("running", "created", "paused", "error", "stopped")
turns = count(1)


def naive(top: Node, task: dict[str, Any]) -> tuple[str, str, str]:  # noqa: C901
    """Return where the task rests, to whom it is offered there, and why it is blocked."""
    needs, at, barred = set(task["required_capabilities"]), top, set()

    def fits(kid: Node, able: set[str]) -> bool:
        room = len(kid.held) < kid.config.get("max_queued_tasks", 100)
        return kid not in barred and kid.status in GRAVE[:2] and needs <= able and room

    def points(kid: Node) -> int:
        return 2 * len(kid.can & set(task["tags"])) + len(
            set(kid.config.get("domains", ())) & set(task["title"].split())
        )

    def best(some: list[Node], score: Callable[[Node], int]) -> Node:
        return min(some, key=lambda k: (-score(k), k.status != "running", k.load(), k.turn, k.name))

    def gap() -> str:
        return "" if any(needs <= kid.able() for kid in top.kids) else "CapabilityGap"

    while True:
        to = None
        if at is top:
            named = [kid for kid in top.kids if kid.name == task["project"]]
            spoken = [k for k in top.kids if points(k) or (needs and needs <= k.able())]
            asked = named or spoken or (top.kids if top.config["unmatched"] == "balance" else [])
            left = [kid for kid in asked if fits(kid, kid.able())]
            if task["project"] and not named:
                to = Node(task["project"], top, "running")
                if not needs <= to.can:
                    return top.name, "", "CapabilityGap"
            elif named and not left:
                short = "Unroutable" if needs <= named[0].able() else "CapabilityGap"
                return top.name, "", "ExplicitTargetRefused" if named[0] in barred else short
            elif not left and (asked or (needs and gap())):
                return top.name, "", gap() or "Unroutable"
            elif not left:
                return top.name, "", ""
            to = to or best(left, (lambda _: 0) if named else points)
        else:
            wishes = task["executor_preference"]
            only_a_run = not needs <= at.can and any(needs <= kid.can for kid in at.kids)
            if wishes != "human" and (wishes != "any" or task["complexity"] >= 3 or only_a_run):
                runs = [k for k in at.kids if fits(k, k.can) and k.status == "running"]
                may_make = at.config.get("create_orchestrations", True) and needs <= at.can
                if runs:
                    to = best(runs, lambda _: 0)
                elif may_make and len(at.kids) < 5 and not barred & set(at.kids):
                    number = sum("-run-" in kid.name for kid in at.kids) + 1
                    to = Node(f"{at.name}-run-{number:03}", at, "running")
            if to is None:
                orphan = not needs <= at.can
                tried = wishes != "human" and (wishes != "any" or task["complexity"] >= 3)
                if wishes == "human" or not (
                    orphan or (tried and not at.config.get("manual_fallback", True))
                ):
                    return at.name, "", ""
                barred.add(at)
                at = top
                continue
        to.turn = next(turns)
        if to.config.get("accept") == "manual" or to.status == "created":
            return at.name, to.name, ""
        at = to
        if at.up is not top:
            return at.name, "", ""


def grow(dice: random.Random, prefix: str) -> Node:
    """Make a random tree, in the database and beside it."""
    top = Node(prefix, None, "running", unmatched=dice.choice(["hold", "balance"]))
    rows = {prefix: InstanceFactory(name=prefix, config=dict(top.config))}
    for p in range(dice.randint(1, 4)):
        project = _child(dice, f"{prefix}-p{p}", top, rows, dice.choice(["PROJECT", "PERSONAL"]))
        for r in range(dice.choice([0, 0, 1, 2])):
            _child(dice, f"{project.name}-r{r}", project, rows, "ORCHESTRATION")
    for node in [kid for project in top.kids for kid in (*project.kids, project)]:
        if node.own in CLOSE:
            CLOSE[node.own](node.name, actor=ALICE)
    return top


def _child(dice: random.Random, name: str, up: Node, rows: dict[str, Any], scope: str) -> Node:
    config: dict[str, Any] = {}
    if dice.random() < 0.7:
        config["capabilities"] = dice.sample(WORDS, dice.randint(0, 2))
    config["domains"] = dice.sample(WORDS, dice.choice([0, 0, 1]))
    for key, values in {
        "max_queued_tasks": (0, 1, 2, 100, 100, 100),
        "max_concurrent_tasks": (1, 10, 10),
        "accept": ("auto", "auto", "auto", "manual"),
        "manual_fallback": (True, True, False),
        "create_orchestrations": (True, False),
    }.items():
        config[key] = dice.choice(values)
    status = dice.choice(["running"] * 6 + ["created", "paused", "stopped", "error"])
    rows[name] = InstanceFactory(
        name=name, scope=scope, parent=rows[up.name], config=config, running=status != "created"
    )
    return Node(name, up, status, **config)


def some_task(dice: random.Random, top: Node) -> dict[str, Any]:
    """Return a random task for a tree."""
    names = [kid.name for kid in top.kids]
    return {
        "title": " ".join(dice.sample(WORDS, dice.choice([0, 0, 1, 2]))) or "x",
        "tags": dice.sample(WORDS, dice.choice([0, 0, 1, 2])),
        "project": dice.choice([""] * 8 + [*names, f"{top.name}-new"]),
        "required_capabilities": dice.sample(WORDS, dice.choice([0, 0, 0, 0, 1, 2])),
        "complexity": dice.randint(1, 5),
        "executor_preference": dice.choice(["any", "any", "any", "human", "orchestration"]),
    }


def test_the_naive_router_agrees_through_whole_trees(storm: Callable[[int, int], int]) -> None:
    ends: dict[str, int] = {}
    for seed in range(storm(3, 1000)):
        dice = random.Random(seed)
        top = grow(dice, f"t{seed}")
        row = HopperInstance.objects.get(pk=top.name)
        for _ in range(TASKS_A_TREE):
            what = some_task(dice, top)
            expected = naive(top, what)
            task = TaskFactory(instance=row, **what)
            code = task.waiting_code if task.status == "blocked" else ""
            assert (task.instance_id, task.offered_to_id or "", code) == expected, (seed, what)
            nodes = {kid.name: kid for project in top.kids for kid in (project, *project.kids)}
            ({top.name: top} | nodes)[expected[0]].held.append(task)
            ends[code or "placed"] = ends.get(code or "placed", 0) + 1
    print(ends)
    assert "placed" in ends
    assert unsound() == []
