"""Placing in the model: decide from what is read, then one hop in one transaction (R9, R10)."""

from __future__ import annotations

from instances.allowances import ALLOWANCES
from tests.protocol.ground import Ground
from tests.protocol.state import Offer, State, Thought, Work


class Placing(Ground):
    """Deciding, acting on it or crashing before, and placing again when the tree has changed."""

    # What the scopes decide

    def verdicts(self, state: State, work: Work) -> list[tuple[str, str]]:
        """Return the possible decisions as (verdict, target); several where load alone decides.

        An answered task goes back. An open question stays the reason of what finds no place (R11).
        """
        back = self.way_back(state, work)
        if back:
            return [("return", back)]
        chosen = self.chosen(state, work)
        return [("block", "")] if work.questions and self.nowhere(work, chosen) else chosen

    def way_back(self, state: State, work: Work) -> str:
        """The child towards the asker, while it runs; R10's exclusions do not matter (R11)."""
        for child in self.tree.children[work.holder or ""] if work.return_to else ():
            if work.return_to in self.tree.below[child] and self.runs(state, child):
                return child
        return ""

    def runs(self, state: State, name: str) -> bool:
        """Whether the instance is effectively running."""
        return self.effective(state, name) == "running"

    def nowhere(self, work: Work, chosen: list[tuple[str, str]]) -> bool:
        """Whether this would hand a task up, or let it rest where nobody may claim it."""
        rests = chosen == [("rest", "")] and not self.executes(work.holder)
        return rests or chosen == [("up", "")]

    def chosen(self, state: State, work: Work) -> list[tuple[str, str]]:
        """Return the decisions that the holder's behaviour may make."""
        holder = work.holder or ""
        live = [one for one in self.tree.children[holder] if self.live(state, one)]
        fit = [one for one in live if self.fits(state, work, one)]
        if not self.routes(holder):
            return [("rest", "")]
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
        """Return the instances that R10 bars: refused in this epoch, or on the path."""
        return self.excluded(work).union(*work.hops)

    def excluded(self, work: Work) -> frozenset[str]:
        """Return the instances that rejected, let expire or handed up the task in this epoch."""
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
                    self.thought_of(task, work, verdict, target),
                )
            )
            for verdict, target in self.verdicts(state, work)
        ]

    def thought_of(self, task: int, work: Work, verdict: str, target: str) -> Thought:
        """A decision with what it was made from."""
        number = work.question.number if work.question else 0
        read = (work.holder or "", work.epoch, work.refused, verdict, target)
        return Thought(task, *read, number, work.return_to)

    def may_crash(self, state: State, thought: int) -> bool:
        """A process dies between any two of its transactions."""
        return thought < len(state.thoughts)

    def crash(self, state: State, thought: int) -> State:
        """The process dies: its decision is lost."""
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
        if known.verdict != "return":
            work = work._replace(return_to="")
            state = self.put(state, known.task, work)
        if known.verdict in ("send", "return"):
            sent = self._send(state, known.task, known.target, back=known.verdict == "return")
            unseen = self.allows(state, known.target).offer != "yes"
            return [sent, state] if unseen else [sent]
        if known.verdict == "up":
            return [self.hand_up(state, known.task)]
        if known.verdict == "rest":
            return [self.put(state, known.task, work._replace(due=False, decided=known.holder))]
        return [self.block_it(state, known.task, "Unroutable")]

    def still_so(self, state: State, known: Thought) -> bool:
        """Due, and all as it was read, the open question and `return_to` too; target receives."""
        work = state.works[known.task]
        if not work.due or (work.holder, work.epoch) != (known.holder, known.epoch):
            return False
        if not self.same_question(work, known):
            return False
        if known.verdict not in ("send", "return"):
            return self.nothing_began(known)
        receives = ALLOWANCES[self.status(state, known.target)].offer == "yes"
        return receives and work.refused == known.refused

    def same_question(self, work: Work, known: Thought) -> bool:
        """Whether the same question is open, and the same answered one goes back (R11)."""
        now = self.thought_of(known.task, work, known.verdict, known.target)
        return (now.question, now.return_to) == (known.question, known.return_to)

    def nothing_began(self, known: Thought) -> bool:
        """Whether no instance below the holder began to run since it was read."""
        return known.fresh

    def _forget(self, state: State, thought: int) -> State:
        rest = state.thoughts
        return state._replace(thoughts=rest[:thought] + rest[thought + 1 :])

    def _send(self, state: State, task: int, target: str, *, back: bool = False) -> State:
        work = state.works[task]
        if work.made >= self.most_offers and not back:
            return self.block_it(state, task, "HopLimit")
        offered = self.offered(work._replace(decided=work.holder or ""), Offer(work.holder, target))
        state = self.put(state, task, offered._replace(made=work.made) if back else offered)
        if ALLOWANCES[self.status(state, target)].accept == "yes":
            return self.behaviour_answers(state, task, target)
        return state

    def block_it(self, state: State, task: int, code: str) -> State:
        """Block a task for a person: the attention list. An open question is the reason (R11)."""
        work = state.works[task]
        blocked = work._replace(
            status="blocked",
            waits=self.reason(work, code),
            due=False,
            return_to="",
            decided=work.holder or "",
        )
        return self.put(state, task, blocked)

    def reason(self, work: Work, code: str) -> str:
        """The reason of a block: the open question, where there is one."""
        return "Question" if work.questions else code

    # Placing again

    def may_replace(self, state: State, task: int) -> bool:
        """Look at unplaced tasks again after the tree below their holder has changed."""
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
                return_to="",
                unanswered=frozenset(),
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
