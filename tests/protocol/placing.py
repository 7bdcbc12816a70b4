"""Placing in the model: decide from what is read, then one hop in one transaction (R9, R10)."""

from __future__ import annotations

from instances.allowances import ALLOWANCES
from tests.protocol.ground import Ground
from tests.protocol.state import Offer, State, Thought, Work


class Placing(Ground):
    """Deciding, acting on it or crashing before, and placing again when the tree has changed."""

    # What the scopes decide

    def verdicts(self, state: State, work: Work) -> list[tuple[str, str]]:
        """What the holder may decide, as (verdict, target); several where load alone decides."""
        holder = work.holder or ""
        live = [one for one in self.tree.children[holder] if self.live(state, one)]
        fit = [one for one in live if self.fits(state, work, one)]
        if self.tree.scope[holder] == "GLOBAL":
            if fit:
                return [("send", fit[0])]
            return [("block", "")] if live else [("rest", "")]
        running = [one for one in fit if self.effective(state, one) == "running"]
        if running:
            return [("send", one) for one in running]
        if self.falls_back(holder):
            return [("rest", "")]
        return [("up", "")] if work.hops else [("block", "")]

    def falls_back(self, name: str) -> bool:
        """Whether a project keeps for its people what it cannot send down."""
        return name not in self.tree.strict

    def fits(self, state: State, work: Work, name: str) -> bool:
        """The hard filters: may it be offered work, and do R10's bars let it (R9)?"""
        return self.allows(state, name).offer == "yes" and name not in self.barred(work)

    def barred(self, work: Work) -> frozenset[str]:
        """Whom R10 bars: who refused in this epoch, and who is on the path."""
        return self.excluded(work).union(*work.hops)

    def excluded(self, work: Work) -> frozenset[str]:
        """Who rejected it, let its offer expire, or handed it up, in this epoch."""
        return work.refused

    # Reading and deciding, without locks

    def may_decide(self, state: State, task: int) -> bool:
        """A task is due, and its holder may route."""
        work = state.works[task]
        if not work.due or work.holder is None or len(state.thoughts) >= self.most_thoughts:
            return False
        return self.allows(state, work.holder).route

    def decide(self, state: State, task: int) -> list[State]:
        """Keep what was decided and what it was decided from."""
        work = state.works[task]
        return [
            state._replace(
                thoughts=(
                    *state.thoughts,
                    Thought(task, work.holder or "", work.epoch, work.refused, verdict, target),
                )
            )
            for verdict, target in self.verdicts(state, work)
        ]

    def may_crash(self, state: State, thought: int) -> bool:
        """A process dies between any two of its transactions."""
        return thought < len(state.thoughts)

    def crash(self, state: State, thought: int) -> State:
        """What it meant to do is lost."""
        return self._forget(state, thought)

    # Acting, under R6's locks

    def may_act(self, state: State, thought: int) -> bool:
        """A decision is under way."""
        return thought < len(state.thoughts)

    def act(self, state: State, thought: int) -> list[State]:
        """Look whether all is as it was read, and if so take the hop.

        What stands above the target is not locked: a change there may be seen or not.
        """
        known = state.thoughts[thought]
        state = self._forget(state, thought)
        if not self.still_so(state, known):
            return [state]
        work = state.works[known.task]
        if known.verdict == "send":
            sent = self._send(state, known.task, known.target)
            unseen = self.allows(state, known.target).offer != "yes"
            return [sent, state] if unseen else [sent]
        if known.verdict == "up":
            return [self.hand_up(state, known.task)]
        if known.verdict == "rest":
            return [self.put(state, known.task, work._replace(due=False, decided=known.holder))]
        return [self.block_it(state, known.task, "Unroutable")]

    def still_so(self, state: State, known: Thought) -> bool:
        """Due, at the same holder, in the same epoch, barring the same; and the target receives."""
        work = state.works[known.task]
        if not work.due or (work.holder, work.epoch) != (known.holder, known.epoch):
            return False
        if known.verdict != "send":
            return self.nothing_began(known)
        receives = ALLOWANCES[self.status(state, known.target)].offer == "yes"
        return receives and work.refused == known.refused

    def nothing_began(self, known: Thought) -> bool:
        """Whether no instance below the holder began to run since it was read."""
        return known.fresh

    def _forget(self, state: State, thought: int) -> State:
        rest = state.thoughts
        return state._replace(thoughts=rest[:thought] + rest[thought + 1 :])

    def _send(self, state: State, task: int, target: str) -> State:
        work = state.works[task]
        if work.made >= self.most_offers:
            return self.block_it(state, task, "HopLimit")
        work = work._replace(decided=work.holder or "")
        state = self.put(state, task, self.offered(work, Offer(work.holder, target)))
        if ALLOWANCES[self.status(state, target)].accept == "yes":
            return self.behaviour_answers(state, task, target)
        return state

    def block_it(self, state: State, task: int, code: str) -> State:
        """Block a task for a person: the attention list."""
        work = state.works[task]
        decided = work.holder or ""
        blocked = work._replace(status="blocked", waits=code, due=False, decided=decided)
        return self.put(state, task, blocked)

    # Placing again

    def may_replace(self, state: State, task: int) -> bool:
        """What could not be placed, after the tree below its holder has changed."""
        work = state.works[task]
        return bool(work.again) and self.blocked_by_placing(work)

    def replace(self, state: State, task: int) -> State:
        """Begin a new epoch at the holder."""
        return self.put(state, task, self.anew(state.works[task]))

    def may_reroute(self, state: State, task: int) -> bool:
        """A resting or offered task, or one that placing blocked; not one that escalates."""
        work = state.works[task]
        movable = work.status == "pending" or self.blocked_by_placing(work)
        rising = any(offer.up for offer in work.offers)
        return movable and not rising and work.holder is not None

    def reroute(self, state: State, task: int) -> State:
        """Withdraw a pending offer and begin a new epoch at the holder."""
        return self.put(state, task, self.anew(state.works[task]))

    def anew(self, work: Work) -> Work:
        """The task in a new epoch: nobody excluded, no offers made."""
        return self.rest_or_route(
            work._replace(
                status="pending",
                offers=(),
                epoch=work.epoch + 1,
                refused=frozenset(),
                made=0,
                waits="",
                again=frozenset(),
            )
        )

    # What hand-overs bring along

    def offered(self, work: Work, offer: Offer) -> Work:
        """The task under an offer: it stays with its holder and is not due (R8)."""
        counts = 0 if offer.up else 1
        return work._replace(
            offers=(*work.offers, offer), due=False, made=min(work.made + counts, self.most_offers)
        )

    def behaviour_answers(self, state: State, task: int, target: str) -> State:
        """The target's behaviour accepts, or leaves it to a person (R8)."""
        raise NotImplementedError

    def hand_up(self, state: State, task: int) -> State:
        """Escalate (R11)."""
        raise NotImplementedError
