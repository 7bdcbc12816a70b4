"""A state machine that takes the same steps in the model and in the services, and compares."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress

from django.db import transaction
from django.test import TestCase
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, precondition, rule

from hopper.errors import HopperError
from tests.protocol.invariants import breaches
from tests.protocol.living import Rules
from tests.protocol.services import Services
from tests.protocol.state import State, Work
from tests.protocol.steps import SYSTEM, Bound, bind, following
from tests.protocol.walks import DUE, SIX
from tests.soundness import unsound

TASKS = 2
BEGIN = State(tuple("running" for _ in SIX.names), (DUE, *[Work()] * (TASKS - 1)))

NOT_ASKED = {"withdraw_hopeless", "unblock", "lose_lease", "time_out"}
"""Steps whose guard only says when the system takes them; a person may do the same elsewhere."""

ONLY_BY_SWEEP = ("decide", "act", "crash", "replace")
STARTS = ("start_instance", "resume_instance", "recover_instance")


def seen(state: State) -> State:
    """Return a state without what only invariants ask."""
    return state._replace(
        works=tuple(
            work._replace(
                made=0,
                again=frozenset(),
                decided="",
                unanswered=frozenset(),
                was=(),
                closed="",
                aggregated=False,
            )
            for work in state.works
        )
    )


def difference(observed: State, expected: Iterable[State]) -> str:
    """Return what the services show and the model does not, for each state of the model."""
    lines = []
    for state in map(seen, expected):
        pairs = [("instances", observed.statuses, state.statuses)]
        for mine, its in zip(observed.works, state.works, strict=True):
            pairs += zip(Work._fields, mine, its, strict=True)
        lines.append([f"{name}: services {a}, model {b}" for name, a, b in pairs if a != b])
    return f"{observed} is none of {len(lines)} expected: {lines}"


class Model:
    """The states in which the model may be, given what has been seen."""

    def __init__(self) -> None:
        self.rules = Rules(SIX, most_offers=16, most_failures=3, most_epochs=1000, most_questions=8)
        steps = bind(self.rules, TASKS, moving=SIX.names)
        self.steps = [one for one in steps if one.name not in ONLY_BY_SWEEP]
        self.steps += [Bound("place", SYSTEM, (task,)) for task in range(TASKS)]
        self.alone = [one for one in steps if one.by == SYSTEM]
        self.prompt = [
            one
            for one in self.alone
            if one.name in ("decide", "act", "answer", "settle", "replace")
        ]
        self.possible = {BEGIN}

    def may(self, step: Bound) -> bool:
        """Whether the step may be taken now."""
        name = "decide" if step.name == "place" else step.name
        guard = getattr(self.rules, f"may_{name}")
        return any(guard(state, *step.arguments) for state in self.possible)

    def any_step(self) -> st.SearchStrategy[Bound]:
        """Return a choice of what may be done now: the kind first, so that rare ones come too.

        An instance seldom ends, or nothing would be left to happen.
        """
        may: dict[str, list[Bound]] = {}
        for step in self.steps:
            if self.may(step):
                may.setdefault(step.name, []).append(step)
        often = [name for name in may if name != "terminate_instance"] * 4
        return st.sampled_from(often + list(may)).flatmap(lambda name: st.sampled_from(may[name]))

    def after(self, step: Bound, states: Iterable[State] | None = None) -> set[State]:
        """Return the states that may follow."""
        states = self.possible if states is None else states
        if step.name == "place":
            decided = self.after(Bound("decide", SYSTEM, step.arguments), states)
            return self.after(Bound("act", SYSTEM, (0,)), decided)
        found = {after for state in states for _, after in following(self.rules, state, [step])}
        if step.name == "stop_instance":
            # The service lets it settle at once, in a transaction of its own.
            settle = Bound("settle", SYSTEM, step.arguments[:1])
            found = {one for state in found for one in self.after(settle, [state]) or {state}}
        return found

    def onward(self, begin: set[State], steps: list[Bound]) -> tuple[set[State], set[State]]:
        """Return all states to which these steps lead, and those where none can be taken."""
        known, rest, todo = set(begin), set(), list(begin)
        while todo:
            state = todo.pop()
            ways = {after for _, after in following(self.rules, state, steps)}
            if not ways:
                rest.add(state)
            todo += ways - known
            known |= ways
        return known, rest

    def as_requested(self, step: Bound, after: set[State]) -> set[State]:
        """Return the states to which a request leads that goes on after its commit."""
        found = self.onward(after, self.prompt)[0]
        if step.name in STARTS:
            # What is found stuck after a start is placed again, though it was so since.
            found |= {self.rules.begun(state, step.arguments[0]) for state in found}
            found = self.onward(found, self.prompt)[0]
        return found

    def keep(self, states: Iterable[State], observed: State) -> None:
        """Keep the states that look as observed; there must be one."""
        found = set(states)
        self.possible = {state for state in found if seen(state) == observed}
        assert self.possible, difference(observed, found)


class Compared(RuleBasedStateMachine):
    """Steps of the one table, each taken in both and compared; ends with the audit."""

    services: Services
    count = 0
    astray = False

    def __init__(self) -> None:
        super().__init__()
        self.model = Model()
        self.around = transaction.atomic()
        self.around.__enter__()
        self.services.begin(TASKS)
        self._compare({BEGIN})

    @rule(data=st.data(), whole=st.booleans())
    def take_a_step(self, data: st.DataObject, whole: bool) -> None:
        """Take a step; `whole` lets the request go on after its commit, else it dies there."""
        step = data.draw(self.model.any_step())
        after = self.model.after(step)
        if not whole:
            self.services.take(step.name, step.arguments)
            return self._compare(after)
        with TestCase.captureOnCommitCallbacks(execute=True):
            self.services.take(step.name, step.arguments)
        return self._compare(self.model.as_requested(step, after))

    @rule(data=st.data())
    def be_refused(self, data: st.DataObject) -> None:
        """Take a step that may not be taken: it is refused or changes nothing."""
        asked = [one for one in self.model.steps if self._refusable(one)]
        step = data.draw(st.sampled_from(asked))
        with suppress(HopperError):
            self.services.take(step.name, step.arguments)
        self._compare(self.model.possible)

    @precondition(lambda self: any(work.due for work in self.services.state().works))
    @rule(data=st.data())
    def be_overtaken(self, data: st.DataObject) -> None:
        """Decide where a task goes, and have something else happen before acting on it."""
        due = [one for one in self.model.steps if one.name == "place" and self.model.may(one)]
        if not due:
            return
        place = data.draw(st.sampled_from(due))
        decided = self.model.after(Bound("decide", SYSTEM, place.arguments))
        meanwhile = [
            one
            for one in self.model.steps
            if one.name != "place" and self.model.may(one) and one.by != SYSTEM
        ]
        step = data.draw(st.sampled_from(meanwhile))
        self.services.place_interrupted(
            place.arguments[0], lambda: self.services.take(step.name, step.arguments)
        )
        self._compare(self.model.after(Bound("act", SYSTEM, (0,)), self.model.after(step, decided)))

    @rule()
    def come_to_rest(self) -> None:
        """Let the sweep do all that is due, with time going by."""
        self.services.come_to_rest()
        self._compare(self.model.onward(self.model.possible, self.model.alone)[1])

    def teardown(self) -> None:
        """Come to rest, ask for every invariant, and forget it all."""
        try:
            if not self.astray:
                self.come_to_rest()
                found = unsound()
                assert not found, found
        finally:
            transaction.set_rollback(True)
            self.around.__exit__(None, None, None)

    def _refusable(self, step: Bound) -> bool:
        if step.name in NOT_ASKED or self.model.may(step):
            return False
        state = next(iter(self.model.possible))
        task = step.arguments[0] if isinstance(step.arguments[0], int) else None
        if task is not None and state.works[task].status == "absent":
            return False
        if step.name == "decompose":
            return state.works[step.arguments[1]].status == "absent"
        if step.name == "answer_question":
            return bool(task is not None and state.works[task].asked >= step.arguments[1])
        needs_offer = ("answer", "expire", "accept", "reject", "withdraw")
        return step.name not in needs_offer or bool(task is not None and state.works[task].offers)

    def _compare(self, states: Iterable[State]) -> None:
        type(self).count += 1
        self.astray = True
        self.model.keep(states, self.services.state())
        for state in self.model.possible:
            assert not list(breaches(self.model.rules, state))
        self.astray = False
