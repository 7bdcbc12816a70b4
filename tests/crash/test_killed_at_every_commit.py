"""A process is killed before and after each of its commits: nothing is lost, nothing done twice."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator

import pytest

from tests.crash import snapshots
from tests.crash.acts import ACTS, ONLY_BY_KEY, SWEEP, Asked
from tests.crash.failpoints import dying_at, forked
from tests.crash.likeness import likeness
from tests.soundness import unsound

pytestmark = [pytest.mark.storm, pytest.mark.django_db(transaction=True)]

FULL = os.environ.get("HOPPER_STORM") == "1"

SHORT = {
    ("routing again", "key-1"),
    *(
        (name, "")
        for name in (
            "sweeping up what lasted until now",
            "starting an instance",
            "creating a task that no child may take",
            "completing a task others wait for",
            "giving an instance new capabilities",
            "claiming the next",
            "claiming a given task",
            "starting work",
            "a heartbeat with a checkpoint",
            "completing too late",
            "decomposing a task",
            "failing for good where failures go up",
            "cancelling a family at work",
            "setting a status by force",
            "offering a task",
            "creating an instance",
            "closing a run",
            "escalating work",
            "editing where a task goes",
            "retrying a failed child",
            "terminating a subtree at work",
            "sweeping up lost leases",
            "sweeping up below an old error",
        )
    ),
}
"""Acts that between them make every commit there is, for the short run."""

REFUSED = {"completing too late"}
EVERY = [
    pytest.param(name, key, id=f"{name}{', by key' if key else ''}")
    for name in ACTS
    for key in ("", "key-1")
    if FULL or (name, key) in SHORT
    if key or name not in ONLY_BY_KEY
    if not (key and name.startswith("sweeping"))
]


@pytest.fixture(autouse=True)
def warm(transactional_db: None) -> None:
    """Load what a request needs before the first fork, so that no child has to."""
    Asked("GET", "/tasks").ask()


@pytest.mark.parametrize(("name", "key"), EVERY)
def test_a_repeated_request_finds_the_effect_done_once(
    name: str,
    key: str,
    due: Callable[[str, str], bool],
) -> None:
    asked = ACTS[name]()
    prepared, at_first = snapshots.take(), likeness()
    whole = forked(lambda: asked.ask(key))
    assert whole.value < 300 or name in REFUSED
    SWEEP.ask()
    expected = likeness()
    assert unsound() == []

    print("NAMES", name, "|", key, "|", " ".join(whole.commits))
    for number, commit in enumerate(whole.commits):
        for moment in ("before", "after"):
            if not due(commit, moment):
                continue
            snapshots.put_back(prepared)
            assert forked(lambda: asked.ask(key), dying_at(number, moment)).killed
            assert unsound() == [], f"{moment} {commit}"
            if (number, moment) == (0, "before"):
                assert likeness() == at_first, "there before its commit"
            for who in _those_who_come(asked, key, sweeper_first=moment == "after"):
                who()
            assert likeness() == expected, f"{moment} {commit}"


def _those_who_come(
    asked: Asked, key: str, *, sweeper_first: bool
) -> Iterator[Callable[[], object]]:
    """Yield the caller who asks again and the sweeper, in either order."""
    if sweeper_first:
        yield SWEEP.ask
    yield lambda: forked(lambda: asked.ask(key))
    yield SWEEP.ask
