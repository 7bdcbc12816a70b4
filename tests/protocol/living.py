"""The life of instances in the model, and what it does to offers and tasks (R2, R5)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hopper.protocol import INSTANCE
from tests.protocol.asking import Asking
from tests.protocol.state import State, Work

if TYPE_CHECKING:
    from collections.abc import Set


class Living(Asking):
    """Start, pause, stop, error, terminate; and the sweep's part in them."""

    def permits(self, state: State, name: str, status: str) -> bool:
        """Whether the table of R2 has that edge."""
        return INSTANCE.permits(self.status(state, name), status)

    # Beginning to run

    def may_start_instance(self, state: State, name: str) -> bool:
        """From created, stopped or error, by way of starting."""
        return self.permits(state, name, "starting")

    def start_instance(self, state: State, name: str) -> State:
        """Running."""
        return self.begun(self.set_status(state, [name], "running"), name)

    def may_resume_instance(self, state: State, name: str) -> bool:
        """From paused."""
        return self.status(state, name) == "paused"

    def resume_instance(self, state: State, name: str) -> State:
        """Running."""
        return self.start_instance(state, name)

    def may_recover_instance(self, state: State, name: str) -> bool:
        """From error."""
        return self.status(state, name) == "error"

    def recover_instance(self, state: State, name: str) -> State:
        """Running."""
        return self.start_instance(state, name)

    def begun(self, state: State, name: str) -> State:
        """Look at unplaced tasks above again; drop the decisions under way there (R9)."""
        line = {*self.tree.above[name], name}
        for task, work in enumerate(state.works):
            if self.blocked_by_placing(work) and work.waits == "Unroutable" and work.holder in line:
                state = self.put(state, task, work._replace(again=work.again | {name}))
        thoughts = tuple(
            known._replace(fresh=known.fresh and known.holder not in self.tree.above[name])
            for known in state.thoughts
        )
        return state._replace(thoughts=thoughts)

    # Ceasing to

    def may_pause_instance(self, state: State, name: str) -> bool:
        """From running."""
        return self.permits(state, name, "paused")

    def pause_instance(self, state: State, name: str) -> State:
        """Nothing else changes."""
        return self.set_status(state, [name], "paused")

    def may_fail_instance(self, state: State, name: str) -> bool:
        """From anything live."""
        return self.permits(state, name, "error")

    def fail_instance(self, state: State, name: str) -> State:
        """Offers to it are cancelled."""
        return self._cancel_offers(self.set_status(state, [name], "error"), to={name})

    def may_stop_instance(self, state: State, name: str, how: str) -> bool:
        """From starting, running, paused or error; a stopped one may still be asked to do more."""
        again = self.status(state, name) in ("stopping", "stopped") and how != "plain"
        return again or self.permits(state, name, "stopping")

    def stop_instance(self, state: State, name: str, how: str) -> State:
        """Stopping: offers to and from the subtree are cancelled; `how` is plain, force, evacuate.

        By force the leases below end uncounted; to evacuate, what is unstarted goes back up.
        """
        below = self.tree.below[name]
        if self.permits(state, name, "stopping"):
            state = self.set_status(state, [name], "stopping")
        state = self._cancel_offers(state, to=below, by=below)
        for task, work in enumerate(state.works):
            if how == "force" and work.leased and work.holder in below:
                state = self.put(state, task, self.put_back(work))
            if how == "evacuate":
                state = self._evacuate(state, task, below)
        return state

    def may_settle(self, state: State, name: str) -> bool:
        """No live lease is left below a stopping instance."""
        return self.status(state, name) == "stopping" and not any(
            work.leased and work.lease in self.tree.below[name] for work in state.works
        )

    def settle(self, state: State, name: str) -> State:
        """Stopped: a step of its own, after the one that ended the lease (R6)."""
        return self.set_status(state, [name], "stopped")

    def may_evacuate(self, state: State, name: str) -> bool:
        """An instance has been in error for the time of grace, and holds what can go."""
        return self.status(state, name) == "error" and any(
            self._goes(state, task, self.tree.below[name]) for task in range(len(state.works))
        )

    def evacuate(self, state: State, name: str) -> State:
        """Unstarted tasks go back up."""
        for task in range(len(state.works)):
            state = self._evacuate(state, task, self.tree.below[name])
        return state

    # For good

    def may_terminate_instance(self, state: State, name: str) -> bool:
        """Anything live, with everything below it."""
        return self.live(state, name)

    def terminate_instance(self, state: State, name: str) -> State:
        """Everything below ends; each unfinished task finds another place, none is lost."""
        gone = frozenset(one for one in self.tree.below[name] if self.live(state, one))
        state = self.set_status(state, gone, "terminated")
        for task, work in enumerate(state.works):
            if work.open:
                state = self.put(state, task, self.out_of_the_dead(state, work, gone))
        return state

    def out_of_the_dead(self, state: State, work: Work, gone: Set[str]) -> Work:
        """An open task after the end of these instances."""
        if work.holder in gone or any(offer.target in gone for offer in work.offers):
            work = self.withdrawn(work) if work.offers else work
        if work.holder not in gone:
            return work
        if work.started and not work.decomposed:
            work = work._replace(status="pending", lease=None)
        elif self.blocked_by_placing(work):
            work = work._replace(status="pending", waits="", again=frozenset())
        return self.moved_out(state, work, gone)

    # What stopping and ending have in common

    def _cancel_offers(self, state: State, *, to: Set[str], by: Set[str] = frozenset()) -> State:
        """Cancel the downward offers to and by these; escalations wait."""
        for task, work in enumerate(state.works):
            for offer in work.offers:
                if not offer.up and (offer.target in to or offer.source in by):
                    state = self.put(state, task, self.withdrawn(work))
        return state

    def _goes(self, state: State, task: int, gone: Set[str]) -> bool:
        work = state.works[task]
        rising = any(offer.up for offer in work.offers)
        if work.status != "pending" or rising or work.holder not in gone:
            return False
        return self._way_out(work, gone) is not None

    def _evacuate(self, state: State, task: int, gone: Set[str]) -> State:
        if not self._goes(state, task, gone):
            return state
        return self.put(state, task, self.moved_out(state, self.withdrawn(state.works[task]), gone))

    def _way_out(self, work: Work, gone: Set[str]) -> str | None:
        """The last instance on its path outside."""
        return next((source for source, _ in reversed(work.hops) if source not in gone), None)

    def moved_out(self, state: State, work: Work, gone: Set[str]) -> Work:
        """The task at its last place outside, else at the nearest live one above, else nowhere."""
        holder, hops = self._way_out(work, gone), work.hops
        while hops and hops[-1][1] != holder:
            hops = hops[:-1]
        if holder is None:
            holder = self.nearest_live(state, work.holder, gone)
        return self.rest_or_route(work._replace(holder=holder, hops=hops, return_to=""))


class Rules(Living):
    """The rules as they stand."""
