"""Delegations in the model: offer, answer, take back, hand up, move sideways (R7, R8, R11, R12)."""

from __future__ import annotations

from tests.protocol.placing import Placing
from tests.protocol.state import Offer, Question, State, Work


class Handing(Placing):
    """Every edge of a delegation but those that its task's end takes."""

    def pending(self, state: State, task: int, *, up: bool | None = None) -> Offer | None:
        """The pending offer of a task, if there is one of that kind."""
        offers = state.works[task].offers
        if not offers or (up is not None and offers[0].up != up):
            return None
        return offers[0]

    # Made by name

    def may_delegate(self, state: State, task: int, target: str, auto: bool) -> bool:
        """A task at rest, without another offer, to a child of its holder that R3 and R10 allow."""
        work = state.works[task]
        at_rest = work.status == "pending" or self.blocked_by_placing(work)
        if work.question and work.question.at == work.holder:
            return False
        if not at_rest or not self.none_pending(work):
            return False
        if work.holder is not None:
            child = self.tree.parent[target] == work.holder
            if not child or not self.allows(state, work.holder).route:
                return False
        return self.takes_offers(state, work, target)

    def none_pending(self, work: Work) -> bool:
        """At most one offer at a time (F5)."""
        return not work.offers

    def takes_offers(self, state: State, work: Work, target: str) -> bool:
        """Whether somebody may ask the target by name."""
        return self.allows(state, target).offer != "no" and target not in self.barred(work)

    def delegate(self, state: State, task: int, target: str, auto: bool) -> State:
        """Offer it; with `auto` the target's behaviour answers at once."""
        work = state.works[task]._replace(
            status="pending", waits="", again=frozenset(), return_to=""
        )
        work = self.offered(work, Offer(work.holder, target, explicit=not auto))
        state = self.put(state, task, work)
        if auto and self.allows(state, target).accept == "yes":
            return self.behaviour_answers(state, task, target)
        return state

    # Answered

    def may_accept(self, state: State, task: int) -> bool:
        """Somebody accepts by name, where the target's status lets him."""
        offer = self.pending(state, task)
        return offer is not None and self.allows(state, offer.target).accept != "no"

    def accept(self, state: State, task: int) -> State:
        """The target becomes the holder (R8)."""
        work = state.works[task]
        return self.put(state, task, self.accepted(work, work.offers[0]))

    def may_answer(self, state: State, task: int) -> bool:
        """An offer that waited for its target to run, or an escalation."""
        offer = self.pending(state, task)
        if offer is None or offer.explicit or (not offer.up and offer.target in self.tree.manual):
            return False
        return self.allows(state, offer.target).accept == "yes"

    def answer(self, state: State, task: int) -> State:
        """The target's behaviour accepts."""
        return self.accept(state, task)

    def behaviour_answers(self, state: State, task: int, target: str) -> State:
        """Accept, unless a person has to."""
        return state if target in self.tree.manual else self.accept(state, task)

    def may_reject(self, state: State, task: int) -> bool:
        """The target refuses; an escalation cannot be refused."""
        return self.pending(state, task, up=False) is not None

    def reject(self, state: State, task: int) -> State:
        """The target is excluded, the task due for placing."""
        return self.put(state, task, self.refused_by(state.works[task]))

    def may_expire(self, state: State, task: int) -> bool:
        """Nobody answered in time; an escalation never expires."""
        return self.pending(state, task, up=False) is not None

    def expire(self, state: State, task: int) -> State:
        """As rejected."""
        return self.put(state, task, self.refused_by(state.works[task]))

    def may_withdraw(self, state: State, task: int) -> bool:
        """The source takes a downward offer back."""
        return self.pending(state, task, up=False) is not None

    def withdraw(self, state: State, task: int) -> State:
        """Nobody is excluded, the task due for placing."""
        return self.put(state, task, self.withdrawn(state.works[task]))

    def may_withdraw_hopeless(self, state: State, task: int) -> bool:
        """The sweep finds an offer that slipped in below an instance while it stopped (R5)."""
        offer = self.pending(state, task, up=False)
        return offer is not None and self.allows(state, offer.target).offer == "no"

    def withdraw_hopeless(self, state: State, task: int) -> State:
        """As withdrawn."""
        return self.withdraw(state, task)

    # Up and sideways

    def may_escalate(self, state: State, task: int) -> bool:
        """Held, open, no parent of open children, and under no other offer."""
        work = state.works[task]
        held = work.open and work.holder is not None
        return held and not work.decomposed and self.none_pending(work)

    def escalate(self, state: State, task: int) -> State:
        """The holder gives up: its lease ends at once. At a root a person is asked why."""
        if self.level_above(state.works[task]) is None:
            return self.escalate_with_words(state, task)
        return self.given_up(state, task)

    def may_escalate_with_words(self, state: State, task: int) -> bool:
        """As without."""
        return self.may_escalate(state, task)

    def escalate_with_words(self, state: State, task: int) -> State:
        """The words open a question, unless one is open that goes along (R11)."""
        work = state.works[task]
        asks = not work.questions or self.asks_again
        asked = self.asking(work, work.holder or "") if asks else work
        return self.given_up(self.put(state, task, asked), task)

    asks_again = False

    def asking(self, work: Work, at: str, timed: str = "") -> Work:
        """The task with one more open question."""
        rests = work.leased or (work.status == "pending" and not work.due)
        question = Question(work.asked + 1, at, work.epoch, timed, rests)
        return work._replace(questions=(*work.questions, question), asked=question.number)

    def given_up(self, state: State, task: int) -> State:
        """The task without its lease, offered to the level above; at a root it is blocked."""
        work = state.works[task]
        lease = work.lease if self.lease_outlives_escalation else None
        work = work._replace(
            status="pending", lease=lease, waits="", again=frozenset(), return_to=""
        )
        state = self.put(state, task, work)
        if self.level_above(work) is None:
            decided = work.decided
            state = self.block_it(state, task, "InputRequired")
            return self.put(state, task, state.works[task]._replace(decided=decided))
        return self.hand_up(state, task)

    lease_outlives_escalation = False

    def level_above(self, work: Work) -> str | None:
        """Return the sender of the task's last hop, else the parent in the tree (R11)."""
        if work.hops:
            return work.hops[-1][0]
        return self.tree.parent[work.holder or ""]

    def hand_up(self, state: State, task: int) -> State:
        """Offer it to the level above, which cannot refuse; a running one accepts at once."""
        work = state.works[task]
        parent = self.level_above(work) or ""
        refused = work.refused | {work.holder or ""}
        carries = work.question.number if work.question else 0
        offer = Offer(work.holder, parent, up=True, carries=carries)
        work = self.offered(work._replace(refused=refused, decided=work.holder or ""), offer)
        state = self.put(state, task, work)
        if self.allows(state, parent).accept == "yes":
            return self.accept(state, task)
        return state

    def may_reassign(self, state: State, task: int, target: str, force: bool) -> bool:
        """Accepted work, to another child of the source of its last hop; running by force."""
        work = state.works[task]
        if not work.open or not work.hops or work.offers or work.decomposed:
            return False
        source = work.hops[-1][0]
        child = self.tree.parent[target] == source and target != work.holder
        if not child or not self.allows(state, source).route:
            return False
        if (work.started and not force) or (
            work.status == "blocked" and not self.blocked_by_placing(work)
        ):
            return False
        there = work._replace(hops=work.hops[:-1])
        return self.takes_offers(state, there, target)

    def reassign(self, state: State, task: int, target: str, force: bool) -> State:
        """The source holds it again and makes a new offer; nobody is excluded (R12)."""
        work = state.works[task]
        source = work.hops[-1][0]
        back = work._replace(
            status="pending",
            lease=None,
            waits="",
            again=frozenset(),
            holder=source,
            hops=work.hops[:-1],
            return_to="",
            made=max(0, work.made - 1),
            decided="",
        )
        return self.put(state, task, self.offered(back, Offer(source, target, explicit=True)))

    # What becomes of the task

    def accepted(self, work: Work, offer: Offer) -> Work:
        """The task at its new holder, due for placing where that routes on."""
        hops = work.hops
        if offer.up:
            hops = hops[:-1] if hops and hops[-1][1] == offer.source else hops
        elif offer.source is not None:
            hops = (*hops, (offer.source, offer.target))
        back = "" if work.return_to == offer.target else work.return_to
        moved = work._replace(holder=offer.target, hops=hops, offers=(), return_to=back)
        return self.rest_or_route(moved)

    def refused_by(self, work: Work) -> Work:
        """The task back with its source, the target excluded for this epoch."""
        refused = work.refused | {work.offers[0].target}
        return self.rest_or_route(work._replace(offers=(), refused=refused, return_to=""))

    def withdrawn(self, work: Work) -> Work:
        """The task back with its source, the offer refunded (R10)."""
        counts = sum(not offer.up for offer in work.offers)
        made = max(0, work.made - counts)
        return self.rest_or_route(work._replace(offers=(), made=made, return_to=""))
