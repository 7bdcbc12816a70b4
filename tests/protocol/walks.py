"""The walks: small trees with a task or a few, and what may happen to them."""

from __future__ import annotations

from typing import Any

from tests.protocol.explorer import Walk
from tests.protocol.living import Rules
from tests.protocol.state import State, Tree, Work

SIX = Tree(
    ("top", "GLOBAL", None),
    ("web", "PROJECT", "top"),
    ("api", "PROJECT", "top"),
    ("run1", "ORCHESTRATION", "web"),
    ("run2", "ORCHESTRATION", "web"),
    ("job", "ORCHESTRATION", "api"),
    manual=("job",),
    strict=("web",),
)
"""Two projects; `web` keeps nothing for people, and at `job` a person accepts."""

THREE = Tree(
    ("top", "GLOBAL", None),
    ("web", "PROJECT", "top"),
    ("run1", "ORCHESTRATION", "web"),
    strict=("web",),
)
TWO = Tree(("web", "PROJECT", None), ("run1", "ORCHESTRATION", "web"))

DUE = Work(status="pending", holder="top", due=True)
AT_WEB = Work(status="pending", holder="web", due=True)
NONE = Work()

BY_HAND = ("take", "block", "unblock", "start")
BY_NAME = ("delegate", "reassign", "reroute", "withdraw")

QUESTIONS = ("escalate_with_words", "ask", "answer_question", "time_out")
PEOPLE = (*BY_HAND, *QUESTIONS)

DEEP = Tree(
    ("web", "PROJECT", None),
    ("run1", "ORCHESTRATION", "web"),
    ("phase", "ORCHESTRATION", "run1"),
    ("run2", "ORCHESTRATION", "web"),
    manual=("phase", "run2"),
)
"""A run with a phase, and another run; at both of them a person accepts."""

ASKED: dict[str, Any] = {
    "most_epochs": 1,
    "most_failures": 1,
    "without": (*BY_HAND, "decompose", "reassign", "release"),
}
"""The bounds of the walks with questions."""

NO_ENDS = (*BY_HAND, "decompose", "release", "complete", "fail", "cancel", "reopen")

SMALL: dict[str, dict[str, Any]] = {
    "hands": {"tree": SIX, "most_epochs": 1, "most_failures": 1, "without": PEOPLE},
    "tree": {
        "tree": THREE,
        "moving": ("web",),
        "most_failures": 1,
        "without": (*PEOPLE, "decompose", "reassign", "release"),
    },
    "above": {
        "tree": THREE,
        "moving": ("top", "run1"),
        "most_epochs": 1,
        "most_failures": 1,
        "without": (*PEOPLE, *BY_NAME, "decompose", "release"),
    },
    "family": {
        "tree": TWO,
        "works": (AT_WEB, NONE, NONE),
        "most_failures": 1,
        "without": (*PEOPLE, *BY_NAME, "escalate", "release", "reject", "expire", "accept"),
    },
    "questions": {"tree": THREE, "most_questions": 2, **ASKED},
    "questions by hand": {
        "tree": TWO,
        "works": (AT_WEB,),
        "most_questions": 2,
        **ASKED,
        "without": ("decompose", "escalate"),
    },
    "questions in depth": {"tree": DEEP, "works": (AT_WEB,), "most_questions": 2, **ASKED},
    "questions that move": {
        "tree": THREE,
        "moving": ("web",),
        **ASKED,
        "without": (*NO_ENDS, *BY_NAME),
    },
    "questions above": {"tree": THREE, "moving": ("top",), **ASKED, "without": NO_ENDS},
}
"""Walked in every run, in a few seconds together; wrong readings show here."""

LARGE: dict[str, dict[str, Any]] = {
    "questions, six instances": {"tree": SIX, "most_questions": 2, **ASKED},
    "questions, all of it moves": {
        "tree": THREE,
        "moving": ("top", "web", "run1"),
        "most_questions": 2,
        **ASKED,
    },
    "questions, two epochs": {
        "tree": THREE,
        "moving": ("web",),
        "most_failures": 2,
        "most_questions": 2,
        "without": ("decompose",),
    },
    "questions of a child": {
        "tree": TWO,
        "works": (AT_WEB, NONE),
        "moving": ("run1",),
        **ASKED,
        "without": (*BY_HAND, *BY_NAME, "release"),
    },
    "hands, two epochs": {"tree": SIX, "most_failures": 2},
    "tree, all of it moves": {
        "tree": SIX,
        "moving": ("web", "run1"),
        "most_epochs": 1,
        "most_failures": 1,
        "without": (*PEOPLE, "decompose", "release", "reassign"),
    },
    "two decisions at once": {
        "tree": THREE,
        "moving": ("web", "run1"),
        "most_epochs": 1,
        "most_failures": 1,
        "most_thoughts": 2,
        "without": (*PEOPLE, "decompose", "release"),
    },
    "parent and child in a tree that moves": {
        "tree": THREE,
        "works": (DUE, NONE),
        "moving": ("run1",),
        "most_epochs": 1,
        "most_failures": 1,
        "without": (*PEOPLE, "reassign", "reroute", "delegate", "withdraw"),
    },
    **{
        f"family, {policy}": {
            "tree": TWO,
            "works": (AT_WEB, NONE, NONE),
            "most_failures": 1,
            "policy": policy,
            "without": (*BY_NAME, "start", "block", "unblock", "release"),
        }
        for policy in ("wait_all", "fail_fast", "best_effort", "resume")
    },
}
"""Walked at full length with HOPPER_STORM=1: minutes."""


def walk(
    name: str,
    tree: Tree,
    *,
    works: tuple[Work, ...] = (DUE,),
    moving: tuple[str, ...] = (),
    without: tuple[str, ...] = (),
    rules: type[Rules] = Rules,
    **bounds: Any,
) -> Walk:
    """Return a walk that begins with all instances running."""
    begin = State(tuple("running" for _ in tree.names), works)
    return Walk(name, rules(tree, **bounds), begin, moving, without)
