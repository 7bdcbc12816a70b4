"""Invariants of the model: after every step, and in states without a further step.

The numbers are those of docs/reference/protocol.md.
"""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

from tests.protocol.steps import SYSTEM, TREE

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.protocol.living import Rules
    from tests.protocol.state import State, Work
    from tests.protocol.steps import Bound

ENDS = ("done", "failed", "cancelled")


def breaches(rules: Rules, state: State) -> Iterator[str]:
    """Yield each breach of an invariant in this state."""
    for place, work in enumerate(state.works):
        if work.status == "absent":
            continue
        yield from _task(rules, state, work)
        yield from _offers(rules, state, work)
        yield from _work_on_it(rules, work)
        yield from _children(rules, state, place)
        yield from _questions(rules, work)


def _task(rules: Rules, state: State, work: Work) -> Iterator[str]:
    if work.due and (work.status != "pending" or work.holder is None or work.offers):
        yield "I1: due for placing, but it cannot move"
    if work.open and work.holder is not None and not rules.live(state, work.holder):
        yield f"I2: held by {work.holder}, which is terminated"
    if any(here[1] != there[0] for here, there in pairwise(work.hops)):
        yield f"I3: the path {work.hops} is not connected"
    places = [work.hops[0][0], *(hop[1] for hop in work.hops)] if work.hops else []
    if len(set(places)) != len(places):
        yield f"I3: the path {work.hops} is not simple"
    if places and places[-1] != work.holder:
        yield f"I3: the path ends at {places[-1]}, held by {work.holder}"
    if work.open and any(not rules.live(state, place) for place in places[1:]):
        yield f"I3: the path {work.hops} leads to the dead"
    if work.status == "blocked" and not work.waits:
        yield "I18: blocked without a reason"
    resting = work.status == "pending" and not work.due and not work.offers
    if resting and rules.routes(work.holder) and work.decided != work.holder:
        yield f"I18: rests at {work.holder} without a decision of it"


def _offers(rules: Rules, state: State, work: Work) -> Iterator[str]:
    if len(work.offers) > 1:
        yield f"I4: {len(work.offers)} pending offers"
    for offer in work.offers:
        if offer.source != work.holder:
            yield f"I4: offered by {offer.source}, held by {work.holder}"
        child, parent = (offer.source, offer.target) if offer.up else (offer.target, offer.source)
        if offer.source is not None and rules.tree.parent[child or ""] != parent:
            yield f"I5: {offer} is no edge of the tree"
        back = bool(work.return_to) and work.return_to in rules.tree.below[offer.target]
        if not offer.up and offer.target in work.refused and not back:
            yield f"I6: {offer.target} is asked again"
        if any(offer.target in hop for hop in work.hops) and not offer.up:
            yield f"I6: {offer.target} is on the path already"
        if not rules.live(state, offer.target):
            yield f"I18: waits for {offer.target}, which is terminated"


def _work_on_it(rules: Rules, work: Work) -> Iterator[str]:
    if work.started != (work.lease is not None or (work.decomposed and work.started)):
        yield f"I7: {work.status} with lease {work.lease}"
    if work.decomposed and work.started and work.lease is not None:
        yield "I7: a parent with a lease"
    if work.leased and (work.lease != work.holder or not rules.executes(work.holder)):
        yield f"I8: leased at {work.lease}, held by {work.holder}"
    if work.status in ENDS and (work.offers or work.hops or work.lease):
        yield f"I10: {work.status}, but something of it is open"
    ends = {"done": "completed", "failed": "failed", "cancelled": "cancelled"}
    if work.status in ENDS and work.closed != ends[work.status]:
        yield f"I11: {work.status}, its hops {work.closed}"


def _children(rules: Rules, state: State, place: int) -> Iterator[str]:
    work = state.works[place]
    states = [state.works[one].status for one in rules.children_of(state, place)]
    still_open = [status for status in states if status not in ENDS]
    if work.status in ENDS and still_open:
        yield f"I10: {work.status}, but a child is {still_open[0]}"
    if work.status in ENDS and work.aggregated and work.status not in _judged(rules, states):
        yield f"I12: {work.status}, but its children are {states}"
    if work.decomposed and work.status == "in_progress" and not still_open:
        yield f"I13: waits for children that are {states}"


def _questions(rules: Rules, work: Work) -> Iterator[str]:
    if len(work.questions) > 1:
        yield f"I23: {len(work.questions)} open questions"
    if work.questions and (not work.open or work.started):
        yield f"I23: {work.status}, and a question is open"
    if work.waits == "Question" and not work.questions:
        yield "I23: blocked by a question, and none is open"
    if work.questions and work.status == "blocked" and work.waits != "Question":
        yield f"R11: {work.waits} hides the question"
    resting = work.status == "pending" and not work.due and not work.offers
    if work.questions and resting and work.holder and not rules.executes(work.holder):
        yield "R11: AwaitingTriage hides the question"
    if work.return_to and not work.due and not work.offers:
        yield f"I23: goes back to {work.return_to}, and does not move"
    numbers = {question.number for question in work.questions}
    if any(offer.carries and offer.carries not in numbers for offer in work.offers):
        yield "I23: an escalation carries a closed question"
    if work.leased and work.lease in work.unanswered:
        yield f"I23: {work.lease} has its task again without an answer"


def _judged(rules: Rules, states: list[str]) -> set[str]:
    """Return what R14's table makes of a parent whose children ended so."""
    failed, done = "failed" in states, "done" in states
    if rules.policy == "resume":
        return set()
    if not failed:
        return {"done"} if done else set()
    return {"done"} if rules.policy == "best_effort" and done else {"failed"}


def wrong_steps(rules: Rules, step: Bound, before: State, after: State) -> Iterator[str]:
    """Yield each breach of an invariant between two states: times and epochs run one way."""
    for was, now in zip(before.works, after.works, strict=True):
        if was is now:
            continue
        if now.epoch < was.epoch:
            yield f"I14: epoch {was.epoch} became {now.epoch}"
        if was.status in ENDS and now.status != was.status and now.epoch == was.epoch:
            yield f"I11: {was.status} became {now.status} in the same epoch"
        if was.status != "absent" and now.status == "absent":
            yield "I1: a task is lost"
        if now.leased and not was.leased and (was.due or was.offers):
            yield "R21: claimed while it was being placed"
        yield from _wrong_closing(step, was, now)
        lost = was.return_to and step.name == "act" and now.status == "blocked"
        if lost and _running_way(rules, before, was):
            yield f"R11: answered, and not given back to {was.return_to}"
        if was.open and now.holder != was.holder and now.offers and not _may_move(step):
            yield f"R8: {step.name} moved the holder to {now.holder} at the offer"


def _wrong_closing(step: Bound, was: Work, now: Work) -> Iterator[str]:
    if not was.questions or now.questions:
        return
    number = was.questions[0].number
    if step.name == "answer_question" and step.arguments[1] != number:
        yield f"R11: the answer to question {step.arguments[1]} closed question {number}"
    if now.open and step.by in (SYSTEM, TREE) and step.name != "time_out":
        yield f"R11: {step.name} lost the question"


def _running_way(rules: Rules, state: State, work: Work) -> bool:
    """Whether the child on the way to the asker runs."""
    return any(
        work.return_to in rules.tree.below[child] and rules.effective(state, child) == "running"
        for child in rules.tree.children[work.holder or ""]
    )


def _may_move(step: Bound) -> bool:
    """Whether a step may both move a task and leave it under an offer: R12 does."""
    return step.name in ("reassign", "escalate", "act")


def stuck(rules: Rules, state: State) -> Iterator[str]:
    """Yield what waits for ever, in a state where the system has nothing left to do."""
    if state.thoughts:
        yield "a decision is under way and nobody acts on it"
    for name in rules.tree.names:
        if rules.status(state, name) == "stopping":
            yield f"{name} is stopping for ever"
    for work in state.works:
        if work.open:
            yield from _waiting_for_ever(rules, state, work)


def _waiting_for_ever(rules: Rules, state: State, work: Work) -> Iterator[str]:
    running = work.holder is not None and rules.effective(state, work.holder) == "running"
    if work.due and running:
        yield f"due for ever at {work.holder}, which runs"
    if work.leased:
        yield f"leased for ever at {work.lease}"
    for offer in work.offers:
        if not offer.up:
            yield f"offered to {offer.target} for ever"
        elif rules.effective(state, offer.target) == "running":
            yield f"waits for ever for {offer.target}, which runs"
    unroutable = work.status == "blocked" and work.waits == "Unroutable"
    if unroutable and running and any(what == "send" for what, _ in rules.verdicts(state, work)):
        yield "unroutable for ever, though somebody would take it"
