"""Work in the model: leases, reports, hand work, children, ends and new beginnings (R13-R21)."""

from __future__ import annotations

from itertools import takewhile

from tests.protocol.handing import Handing
from tests.protocol.state import HAND, State, Work

CLOSED = {"done": "completed", "failed": "failed", "cancelled": "cancelled"}
"""The end of a task's downward delegations for each end of the task (R7, I11)."""


class Working(Handing):
    """Steps of workers and people with a task, and the effects of its end."""

    # Leases

    def may_claim(self, state: State, task: int) -> bool:
        """A ready task at a running instance that executes, neither due nor offered (R21)."""
        work = state.works[task]
        ready = work.status == "pending" and not work.due and not work.offers
        return ready and self.executes(work.holder) and self.allows(state, work.holder or "").claim

    def claim(self, state: State, task: int) -> State:
        """Lease it."""
        work = self.set_aside(state.works[task])
        return self.put(state, task, work._replace(status="claimed", lease=work.holder))

    def set_aside(self, work: Work) -> Work:
        """The task without its open question: the work goes on unanswered (R11)."""
        askers = {one.at for one in work.questions if one.epoch == work.epoch}
        return work._replace(questions=(), unanswered=work.unanswered | askers)

    def may_start(self, state: State, task: int) -> bool:
        """The worker says that he has begun."""
        return state.works[task].status == "claimed"

    def start(self, state: State, task: int) -> State:
        """In progress; the lease goes on."""
        return self.put(state, task, state.works[task]._replace(status="in_progress"))

    def may_complete(self, state: State, task: int) -> bool:
        """Its worker reports it done."""
        work = state.works[task]
        return work.started and not work.decomposed

    def complete(self, state: State, task: int) -> State:
        """Done, and all that follows (R17)."""
        return self.end(state, task, "done")

    def may_fail(self, state: State, task: int, retryable: bool) -> bool:
        """Its worker reports that it failed."""
        return self.may_complete(state, task)

    def fail(self, state: State, task: int, retryable: bool) -> State:
        """Back to its queue while attempts are left, else failed for good (R15)."""
        return self._failed(state, task, retryable)

    def may_lose_lease(self, state: State, task: int) -> bool:
        """A lease has run out: the sweep's write repeats that there is one."""
        return state.works[task].leased

    def lose_lease(self, state: State, task: int) -> State:
        """As a failure that may be retried."""
        return self._failed(state, task, True)

    def may_release(self, state: State, task: int) -> bool:
        """Its worker gives it back."""
        return self.may_complete(state, task)

    def release(self, state: State, task: int) -> State:
        """Back to its queue, not counted."""
        return self.put(state, task, self.put_back(state.works[task]))

    def put_back(self, work: Work) -> Work:
        """A started task in its holder's queue; what was taken by hand may have to be placed."""
        back = work._replace(status="pending", lease=None)
        return back if work.leased else self.rest_or_route(back)

    def _failed(self, state: State, task: int, retryable: bool) -> State:
        work = state.works[task]
        work = work._replace(failures=work.failures + 1)
        state = self.put(state, task, work)
        if retryable and work.failures < self.most_failures:
            return self.put(state, task, self.put_back(work))
        return self.end(state, task, "failed")

    # By hand

    def may_take(self, state: State, task: int) -> bool:
        """A person takes a task, wherever it rests, blocked or not (R19)."""
        work = state.works[task]
        return work.status in ("pending", "blocked") and not work.offers

    def take(self, state: State, task: int) -> State:
        """In progress without a lease."""
        work = state.works[task]
        # Unblocking by hand withdraws a question, a claim sets it aside (R11).
        blocked = work.status == "blocked"
        work = self.question_withdrawn(work) if blocked else self.set_aside(work)
        work = work._replace(
            status="in_progress",
            lease=HAND,
            due=False,
            waits="",
            again=frozenset(),
            return_to="",
        )
        return self.put(state, task, work)

    def may_block(self, state: State, task: int) -> bool:
        """A person blocks what nobody has a lease on and nobody is offered."""
        work = state.works[task]
        at_hand = work.status == "pending" or work.lease == HAND
        return at_hand and not work.offers

    def block(self, state: State, task: int) -> State:
        """Blocked for people: no routing lifts it."""
        work = state.works[task]
        waits = self.reason(work, "InputRequired")
        work = work._replace(status="blocked", waits=waits, due=False, lease=None, return_to="")
        return self.put(state, task, work)

    def may_unblock(self, state: State, task: int) -> bool:
        """A person lifts a block."""
        return state.works[task].status == "blocked"

    def unblock(self, state: State, task: int) -> State:
        """Pending; what placing had blocked begins a new epoch. A question is withdrawn."""
        work = self.question_withdrawn(state.works[task])
        if self.blocked_by_placing(work):
            return self.put(state, task, self.anew(work))
        pending = self.rest_or_route(work._replace(status="pending", waits=""))
        return self.put(state, task, pending)

    def question_withdrawn(self, work: Work) -> Work:
        """The task without its open question: nobody asks any more (R11)."""
        return work._replace(questions=())

    # Children

    def may_decompose(self, state: State, task: int, child: int) -> bool:
        """The holder makes a child of an open task that is neither blocked nor offered (R13)."""
        work = state.works[task]
        if state.works[child].status != "absent" or task >= child:
            return False
        if not work.open or work.status == "blocked" or work.offers:
            return False
        return work.holder is None or self.allows(state, work.holder).create

    def decompose(self, state: State, task: int, child: int) -> State:
        """The parent waits for its children without a lease; the child begins at its holder."""
        work = state.works[task]
        new = self.rest_or_route(Work(status="pending", holder=work.holder, parent=task))
        return self.put(self.put(state, task, self._waiting(work)), child, new)

    def _waiting(self, work: Work) -> Work:
        return self.set_aside(work)._replace(
            status="in_progress", lease=None, due=False, decomposed=True, return_to=""
        )

    # Ends

    def may_cancel(self, state: State, task: int) -> bool:
        """Open work."""
        return state.works[task].open

    def cancel(self, state: State, task: int) -> State:
        """The task and its open descendants, in one transaction (R16)."""
        state = self.end(state, task, "cancelled")
        return self._end_children(state, task)

    def end(self, state: State, task: int, status: str) -> State:
        """End a task: its delegations with it, then its parent is judged (R17)."""
        work = self.ended(state.works[task], status)
        state = self.put(state, task, work)
        return state if work.parent is None else self.aggregate(state, work.parent)

    def ended(self, work: Work, status: str) -> Work:
        """The ended task: nothing of it is left open."""
        return work._replace(
            status=status,
            offers=(),
            hops=(),
            was=work.hops,
            closed=CLOSED[status],
            due=False,
            lease=None,
            waits="",
            again=frozenset(),
            questions=(),
            return_to="",
        )

    def aggregate(self, state: State, task: int) -> State:
        """Judge a parent by its children and its policy (R14)."""
        parent = state.works[task]
        if not parent.decomposed or parent.status != "in_progress":
            return state
        states = [state.works[one].status for one in self.children_of(state, task)]
        if "failed" in states and self.policy == "fail_fast":
            state = self._end_parent(state, task, "failed")
            return self._end_children(state, task)
        if any(state.works[one].open for one in self.children_of(state, task)):
            return state
        counted = self.counted(states)
        if not counted or self.policy == "resume":
            back = parent._replace(status="pending", decomposed=False)
            return self.put(state, task, self.rest_or_route(back))
        enough = self.policy == "best_effort" and "done" in counted
        failed = "failed" in counted and not enough
        return self._end_parent(state, task, "failed" if failed else "done")

    def counted(self, states: list[str]) -> list[str]:
        """The children that decide: cancelled ones are out of the count (F12)."""
        return [one for one in states if one != "cancelled"]

    def _end_parent(self, state: State, task: int, status: str) -> State:
        state = self.put(state, task, state.works[task]._replace(aggregated=True))
        return self.end(state, task, status)

    def _end_children(self, state: State, task: int) -> State:
        for child in self.children_of(state, task):
            if state.works[child].open:
                state = self.cancel(state, child)
        return state

    # New beginnings

    def may_reopen(self, state: State, task: int) -> bool:
        """An ended task whose parent ended because of it, waits, or rests (R18)."""
        work = state.works[task]
        if work.open or work.status == "absent":
            return False
        return work.parent is None or self._takes_back(state, work.parent)

    def reopen(self, state: State, task: int) -> State:
        """A new epoch at the last living holder, the path to there made again."""
        work = state.works[task]
        if work.parent is not None:
            state = self.wait_again(state, work.parent)
        return self.put(state, task, self._begun_again(state, work))

    def wait_again(self, state: State, task: int) -> State:
        """Have the parent wait for its children again."""
        if not state.works[task].open:
            state = self.reopen(state, task)
        return self.put(state, task, self._waiting(state.works[task]))

    def _takes_back(self, state: State, task: int) -> bool:
        parent = state.works[task]
        if parent.decomposed and parent.status == "in_progress":
            return True
        if not parent.open:
            return parent.aggregated and self.may_reopen(state, task)
        return parent.status == "pending" and not parent.due and not parent.offers

    def _begun_again(self, state: State, work: Work) -> Work:
        kept = tuple(takewhile(lambda hop: self.live(state, hop[1]), work.was))
        start = work.was[0][0] if work.was else work.holder
        return self.rest_or_route(
            Work(
                status="pending",
                holder=kept[-1][1] if kept else self.nearest_live(state, start),
                hops=kept,
                epoch=work.epoch + 1,
                parent=work.parent,
                asked=work.asked,
            )
        )
