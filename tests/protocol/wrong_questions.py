"""Other readings of the rules about questions (R11), each of which breaks something."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.protocol.living import Rules
from tests.protocol.wrong_readings import Wrong

if TYPE_CHECKING:
    from tests.protocol.state import Offer, Question, State, Thought, Work


class AnswersWithoutId(Rules):
    """An answer closes the question that is open, whatever question was read."""

    def may_answer_question(self, state: State, task: int, number: int, back: bool) -> bool:
        return bool(state.works[task].questions)


class RaisesWithoutMark(Rules):
    """A time-out without a default leaves no mark."""

    def stamped(self, question: Question) -> Question:
        return question


class ReturnsWithoutOverride(Rules):
    """An answered task does not go back to an asker that R10 excludes."""

    def way_back(self, state: State, work: Work) -> str:
        child = super().way_back(state, work)
        return "" if child in self.barred(work) else child


class ReturnsToWhatDoesNotRun(Rules):
    """An answered task goes back whether or not the asker runs."""

    def runs(self, state: State, name: str) -> bool:
        return True


class ReturnNeverArrives(Rules):
    """Arrival at the asker does not end the return."""

    def accepted(self, work: Work, offer: Offer) -> Work:
        return super().accepted(work, offer)._replace(return_to=work.return_to)


class ReturnOutlivesARefusal(Rules):
    """A refused return is tried again."""

    def refused_by(self, work: Work) -> Work:
        back = work.return_to
        return self.rest_or_route(super().refused_by(work)._replace(return_to=back))


class PlacingHidesTheQuestion(Rules):
    """A task that finds no place is Unroutable, though a question is open."""

    def reason(self, work: Work, code: str) -> str:
        return code


class RecoveryLiftsTheQuestion(Rules):
    """An instance that begins to run brings back what a question blocks."""

    def blocked_by_placing(self, work: Work) -> bool:
        return super().blocked_by_placing(work) or work.waits == "Question"

    def begun(self, state: State, name: str) -> State:
        for task, work in enumerate(state.works):
            if work.waits == "Question" and work.holder in self.tree.above[name]:
                state = self.put(state, task, work._replace(again=work.again | {name}))
        return super().begun(state, name)

    def anew(self, work: Work) -> Work:
        return super().anew(work)._replace(questions=())


class EscalatingAsksAgain(Rules):
    """Every escalation with words opens a question."""

    asks_again = True


class QuestionOutlivesItsTask(Rules):
    """The end of a task leaves its question open."""

    def ended(self, work: Work, status: str) -> Work:
        return super().ended(work, status)._replace(questions=work.questions)


class ClaimLeavesItOpen(Rules):
    """A claim leaves the question open."""

    def set_aside(self, work: Work) -> Work:
        return work


class UnblockingLeavesItOpen(Rules):
    """Unblocking by hand leaves the question open."""

    def question_withdrawn(self, work: Work) -> Work:
        return work


class AskerKeepsItsLease(Rules):
    """Asking does not end the lease."""

    def lease_after(self, work: Work) -> str | None:
        return work.lease


class AnswerLeavesTheEscalation(Rules):
    """An answer leaves an escalation that waits."""

    def answered(self, work: Work, *, back: bool) -> Work:
        return work._replace(questions=()) if work.offers else super().answered(work, back=back)


class AnswerPlacesUnderAnOffer(Rules):
    """An answer marks the task due although it is offered."""

    def answered(self, work: Work, *, back: bool) -> Work:
        answered = super().answered(work, back=back)
        return answered._replace(due=True) if work.offers else answered


class ActsOnAnAnsweredQuestion(Rules):
    """The second look does not compare the open question and the return."""

    def same_question(self, work: Work, known: Thought) -> bool:
        return True


class TriageHidesTheQuestion(Rules):
    """A task rests at the GLOBAL for triage, though a question is open."""

    def nowhere(self, work: Work, chosen: list[tuple[str, str]]) -> bool:
        return False


WRONG_ABOUT_QUESTIONS = (
    Wrong(AnswersWithoutId, "questions", "R11: the answer to question"),
    Wrong(RaisesWithoutMark, "questions", "the system sweeps for ever"),
    Wrong(ReturnsWithoutOverride, "questions", "R11: answered, and not given back"),
    Wrong(ReturnsToWhatDoesNotRun, "questions that move", "the system never comes to rest"),
    Wrong(ReturnNeverArrives, "questions", "I23: goes back"),
    Wrong(ReturnOutlivesARefusal, "questions in depth", "the system never comes to rest"),
    Wrong(PlacingHidesTheQuestion, "questions", "R11: InputRequired hides"),
    Wrong(RecoveryLiftsTheQuestion, "questions that move", "R11: replace lost the question"),
    Wrong(EscalatingAsksAgain, "questions", "I23: 2 open questions"),
    Wrong(QuestionOutlivesItsTask, "questions", "I23: cancelled"),
    Wrong(ClaimLeavesItOpen, "questions by hand", "I23: in_progress"),
    Wrong(UnblockingLeavesItOpen, "questions by hand", "I23"),
    Wrong(AskerKeepsItsLease, "questions", "I7"),
    Wrong(AnswerLeavesTheEscalation, "questions above", "I23: an escalation"),
    Wrong(AnswerPlacesUnderAnOffer, "questions in depth", "I1"),
    Wrong(ActsOnAnAnsweredQuestion, "questions", "R11: answered, and not given back"),
    Wrong(TriageHidesTheQuestion, "questions that move", "R11: AwaitingTriage hides"),
)
