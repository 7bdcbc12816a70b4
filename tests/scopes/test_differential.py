"""A router of thirty naive lines agrees with the real one, and a record alone gives its winner."""

from __future__ import annotations

import json
from dataclasses import asdict

import pytest
from hypothesis import given, settings, strategies as st

from scopes.decisions import SendTo
from tests.scopes.facts import decide, instance, outcome, task
from tests.scopes.winners import winner_of

pytestmark = pytest.mark.unmeasured

WORDS = ("python", "docker", "login", "web")
some = st.lists(st.sampled_from(WORDS), max_size=3, unique=True).map(tuple)
statuses = st.sampled_from(["running", "running", "running", "created", "paused", "stopped"])
children = st.lists(
    st.fixed_dictionaries(
        {
            "id": st.sampled_from(["p1", "p2", "p3", "p4", "p5"]),
            "status": statuses,
            "can": some,
            "domains": some,
            "queued": st.sampled_from([0, 0, 0, 100]),
            "open_tasks": st.integers(0, 3),
            "barred": st.sampled_from(["", "", "", "excluded"]),
        }
    ),
    max_size=5,
    unique_by=lambda one: one["id"],
)
tasks = st.fixed_dictionaries(
    {
        "title": some.map(" ".join),
        "tags": some,
        "project": st.sampled_from(["", "", "", "p1", "p2"]),
        "required_capabilities": st.sampled_from([(), (), (), ("docker",)]),
    }
)


def naive(what, kids, balance: bool) -> str:
    """Return the outcome, as one would write it down in a hurry."""

    def fits(kid):
        able = set(what["required_capabilities"]) <= set(kid["can"])
        up = kid["status"] in ("running", "created")
        return able and up and kid["queued"] < 100 and not kid["barred"]

    def points(kid):
        hits = 2 * len(set(kid["can"]) & set(what["tags"]))
        return hits + len(set(kid["domains"]) & set(what["title"].split()))

    def best(some):
        return min(some, key=lambda k: (-points(k), k["status"] != "running", k["open_tasks"],
                                        k["id"]))["id"]  # fmt: skip

    needs = set(what["required_capabilities"])
    for kid in kids:
        if kid["id"] == what["project"]:
            if fits(kid):
                return kid["id"]
            gap = "Unroutable" if needs <= set(kid["can"]) else "CapabilityGap"
            return "ExplicitTargetRefused" if kid["barred"] else gap
    if what["project"]:
        return what["project"]
    spoken = [k for k in kids if points(k) or (needs and needs <= set(k["can"]))]
    if needs and not any(needs <= set(k["can"]) for k in kids):
        return "CapabilityGap"
    asked = spoken or (kids if balance else [])
    if not asked:
        return "AwaitingTriage"
    left = [kid for kid in asked if fits(kid)]
    return best(left) if left else "Unroutable"


@settings(max_examples=500, deadline=None)
@given(what=tasks, kids=children, balance=st.booleans())
def test_the_naive_router_agrees_and_the_record_gives_the_winner(what, kids, balance) -> None:
    top = instance("top", "GLOBAL", config={"unmatched": "balance" if balance else "hold"})
    decision = decide(task(**what), *[instance(**kid) for kid in kids], at=top)
    assert outcome(decision) == naive(what, kids, balance)
    if isinstance(decision, SendTo):
        stored = json.loads(json.dumps([asdict(one) for one in decision.considered]))
        assert winner_of(stored) == decision.target_id
