"""Plausible other readings of the rules, each of which breaks something the walk finds."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from tests.protocol.living import Rules
from tests.protocol.state import Offer, State, Thought, Work

if TYPE_CHECKING:
    from collections.abc import Set


class HolderMovesAtOffer(Rules):
    """F6: the holder moves before anybody has accepted."""

    def offered(self, work: Work, offer: Offer) -> Work:
        return super().offered(work, offer)._replace(holder=offer.target)


class SecondOfferWhilePending(Rules):
    """F5: another offer is made while one is pending."""

    def none_pending(self, work: Work) -> bool:
        return True


class RefusersAreAskedAgain(Rules):
    """Rejecting and letting an offer expire exclude nobody."""

    def excluded(self, work: Work) -> frozenset[str]:
        return frozenset()


class WhoHandsUpIsAskedAgain(Rules):
    """Handing up excludes nobody, and nobody counts the hops."""

    def hand_up(self, state: State, task: int) -> State:
        before = state.works[task]
        after = super().hand_up(state, task)
        return self.put(after, task, after.works[task]._replace(refused=before.refused))

    def offered(self, work: Work, offer: Offer) -> Work:
        return super().offered(work, offer)._replace(made=0)


class OffersGoUp(Rules):
    """A task may be offered, not escalated, to where it came from."""

    def may_delegate(self, state: State, task: int, target: str, auto: bool) -> bool:
        work = state.works[task]
        back = bool(work.hops) and target == work.hops[-1][0]
        if back and work.status == "pending":
            return self.none_pending(work)
        return super().may_delegate(state, task, target, auto)


class RefusalLeavesItThere(Rules):
    """A refused task is not due for placing again."""

    def refused_by(self, work: Work) -> Work:
        return super().refused_by(work)._replace(due=False)


class PlacedOnlyByItsRequest(Rules):
    """No mark is kept: whoever crashes before placing leaves the task where it is."""

    def crash(self, state: State, thought: int) -> State:
        task = state.thoughts[thought].task
        state = super().crash(state, thought)
        return self.put(state, task, state.works[task]._replace(due=False))


class ActsOnWhatItRead(Rules):
    """The hop is taken without looking whether all is still as it was read."""

    def still_so(self, state: State, known: Thought) -> bool:
        return True


class BlocksThoughSomebodyBegan(Rules):
    """Placing found no target and does not look whether an instance began to run meanwhile."""

    def nothing_began(self, known: Thought) -> bool:
        return True


class UnroutableForGood(Rules):
    """An instance that begins to run does not bring back what could not be placed."""

    def may_replace(self, state: State, task: int) -> bool:
        return False


class TriesWithoutPause(Rules):
    """An unplaceable task is tried again although nothing changed."""

    def may_replace(self, state: State, task: int) -> bool:
        return self.blocked_by_placing(state.works[task])

    def replace(self, state: State, task: int) -> State:
        epoch = state.works[task].epoch
        after = super().replace(state, task)
        return self.put(after, task, after.works[task]._replace(epoch=epoch))


class EscalationsAreNotRepeated(Rules):
    """An instance that had an offer while stopped is not asked when it runs."""

    def may_answer(self, state: State, task: int) -> bool:
        return False


class LeaseOutlivesEscalation(Rules):
    """The child's worker keeps its lease on what it handed up."""

    lease_outlives_escalation = True


class ClaimsWhatIsBeingPlaced(Rules):
    """A task may be claimed where it is only passing through."""

    def may_claim(self, state: State, task: int) -> bool:
        work = state.works[task]
        return super().may_claim(state, task) or (work.due and self.executes(work.holder))


class SweepInTwoSteps(Rules):
    """The sweep reads which leases have run out, then takes each back if it still stands.

    Not wrong: the lease that was read, its epoch and attempt, is the condition of the write.
    """

    def may_lose_lease(self, state: State, task: int) -> bool:
        return False

    def may_decide(self, state: State, task: int) -> bool:
        room = len(state.thoughts) < self.most_thoughts
        return super().may_decide(state, task) or (room and state.works[task].leased)

    def decide(self, state: State, task: int) -> list[State]:
        work = state.works[task]
        if not work.leased:
            return super().decide(state, task)
        seen = Thought(task, work.holder or "", work.epoch, work.refused, "lease", work.lease or "")
        return [state._replace(thoughts=(*state.thoughts, seen))]

    def act(self, state: State, thought: int) -> list[State]:
        known = state.thoughts[thought]
        if known.verdict != "lease":
            return super().act(state, thought)
        state = self.crash(state, thought)
        return [self.lose_lease(state, known.task) if self.still_leased(state, known) else state]

    def still_leased(self, state: State, known: Thought) -> bool:
        work = state.works[known.task]
        return work.lease == known.target and work.epoch == known.epoch


class SweepWithoutItsCondition(SweepInTwoSteps):
    """The sweep takes back what it read as lost, whatever has happened since."""

    def still_leased(self, state: State, known: Thought) -> bool:
        return True


class NobodySettles(Rules):
    """No step of its own makes a stopping instance stopped."""

    def may_settle(self, state: State, name: str) -> bool:
        return False


class TerminateForgetsOffers(Rules):
    """Offers to what is terminated go on pending."""

    def out_of_the_dead(self, state: State, work: Work, gone: Set[str]) -> Work:
        return super().out_of_the_dead(state, work, gone) if work.holder in gone else work


class TerminateForgetsWork(Rules):
    """Terminating leaves unfinished tasks where they are (F8 the other way round)."""

    def out_of_the_dead(self, state: State, work: Work, gone: Set[str]) -> Work:
        return self.withdrawn(work) if work.offers else work


class OnlyThePathIsLookedAt(Rules):
    """A task with no way out along its path stays with the dead."""

    def nearest_live(
        self, state: State, name: str | None, gone: Set[str] = frozenset()
    ) -> str | None:
        return name


class CancelLeavesDescendants(Rules):
    """Only the task itself is cancelled."""

    def cancel(self, state: State, task: int) -> State:
        return self.end(state, task, "cancelled")


class CancelFailsTheHops(Rules):
    """A cancelled task's delegations count as not delivered."""

    def ended(self, work: Work, status: str) -> Work:
        ended = super().ended(work, status)
        return ended._replace(closed="failed") if status == "cancelled" else ended


class OfferOutlivesItsTask(Rules):
    """An end leaves a pending offer to its own clock."""

    def ended(self, work: Work, status: str) -> Work:
        return super().ended(work, status)._replace(offers=work.offers)


class CancelledCountsAsDone(Rules):
    """F12: a parent is done when its children are done or cancelled."""

    def counted(self, states: list[str]) -> list[str]:
        return ["done" if one == "cancelled" else one for one in states]


class NoParentRule(Rules):
    """F7: nothing happens to a parent when its children end."""

    def aggregate(self, state: State, task: int) -> State:
        return state


class ParentStaysEnded(Rules):
    """A child begins again below a parent that has ended."""

    def wait_again(self, state: State, task: int) -> State:
        return state


class Wrong(NamedTuple):
    """A reading, the walk that shows it (a name in WALKS), and the word its breach begins with."""

    reading: type[Rules]
    walk: str
    breach: str


WRONG = (
    Wrong(HolderMovesAtOffer, "hands", "R8"),
    Wrong(SecondOfferWhilePending, "hands", "I4"),
    Wrong(RefusersAreAskedAgain, "hands", "I6"),
    Wrong(WhoHandsUpIsAskedAgain, "hands", "the system never comes to rest"),
    Wrong(OffersGoUp, "hands", "I5"),
    Wrong(RefusalLeavesItThere, "hands", "I18"),
    Wrong(PlacedOnlyByItsRequest, "hands", "I18"),
    Wrong(ActsOnWhatItRead, "tree", "I"),
    Wrong(BlocksThoughSomebodyBegan, "tree", "unroutable for ever"),
    Wrong(UnroutableForGood, "tree", "unroutable for ever"),
    Wrong(TriesWithoutPause, "tree", "the system never comes to rest"),
    Wrong(EscalationsAreNotRepeated, "above", "waits for ever for top"),
    Wrong(LeaseOutlivesEscalation, "hands", "I7"),
    Wrong(ClaimsWhatIsBeingPlaced, "hands", "R21"),
    Wrong(SweepWithoutItsCondition, "hands", "I"),
    Wrong(NobodySettles, "tree", "is stopping for ever"),
    Wrong(TerminateForgetsOffers, "tree", "I18"),
    Wrong(TerminateForgetsWork, "tree", "I2"),
    Wrong(OnlyThePathIsLookedAt, "above", "I2"),
    Wrong(CancelLeavesDescendants, "family", "I10"),
    Wrong(CancelFailsTheHops, "hands", "I11"),
    Wrong(OfferOutlivesItsTask, "hands", "I10"),
    Wrong(CancelledCountsAsDone, "family", "I12"),
    Wrong(NoParentRule, "family", "I13"),
    Wrong(ParentStaysEnded, "family", "I10"),
)
