"""Questions in the model: ask, answer, time out, and the way back to the asker (R11)."""

from __future__ import annotations

from tests.protocol.state import Question, State, Work
from tests.protocol.working import Working


class Asking(Working):
    """Names of the steps that open a question, and of those that close it."""

    def may_ask(self, state: State, task: int, timed: str) -> bool:
        """A held, open task that is neither decomposed, due, offered nor asked about already."""
        work = state.works[task]
        held = work.open and work.holder is not None and not work.decomposed
        still = not work.due and not work.offers and not work.questions
        return held and still and work.asked < self.most_questions

    def ask(self, state: State, task: int, timed: str) -> State:
        """The lease ends, and the task is blocked at its holder."""
        work = state.works[task]
        asked = self.asking(work, work.holder or "", timed)._replace(lease=self.lease_after(work))
        decided = work.decided
        state = self.block_it(self.put(state, task, asked), task, "Question")
        work = state.works[task]._replace(decided=decided, again=frozenset())
        return self.put(state, task, work)

    def lease_after(self, work: Work) -> str | None:
        """The lease of a task that was asked about: none."""
        return None

    def may_answer_question(self, state: State, task: int, number: int, back: bool) -> bool:
        """The question that the answer names is open."""
        question = state.works[task].question
        return question is not None and question.number == number

    def answer_question(self, state: State, task: int, number: int, back: bool) -> State:
        """The question is closed, and the task goes on; `back` sends it to the asker."""
        return self.put(state, task, self.answered(state.works[task], back=back))

    def answered(self, work: Work, *, back: bool) -> Work:
        """The task after the answer to its open question."""
        question = work.questions[0]
        work, rose = work._replace(questions=()), any(offer.up for offer in work.offers)
        if work.offers and not rose:
            return work
        at_rest = work.status == "pending" and not work.due and not rose
        work = self.escalation_cancelled(work)._replace(status="pending", waits="")
        if work.holder == question.at and (question.rests or at_rest) and not work.due:
            return work
        if work.holder is not None and self.is_above(work.holder, question) and back:
            work = work._replace(return_to=question.at)
        return self.rest_or_route(work)

    def escalation_cancelled(self, work: Work) -> Work:
        """The task without the escalation that waited."""
        return work._replace(offers=())

    def is_above(self, holder: str, question: Question) -> bool:
        """Whether the holder stands above where the question was asked."""
        return holder != question.at and question.at in self.tree.below[holder]

    def may_time_out(self, state: State, task: int) -> bool:
        """A default answers wherever the task is; else it is raised once, and only if it waits."""
        work = state.works[task]
        question = work.question
        if question is None or not question.timed:
            return False
        return question.timed == "default" or (work.waits == "Question" and not question.raised)

    def time_out(self, state: State, task: int) -> State:
        """The default is the answer; without one the question goes to the level above."""
        work = state.works[task]
        question = work.questions[0]
        if question.timed == "default":
            return self.put(state, task, self.answered(work, back=True))
        work = work._replace(questions=(self.stamped(question),))
        state = self.put(state, task, work)
        if work.holder is None or self.level_above(work) is None:
            return state
        return self.given_up(state, task)

    def stamped(self, question: Question) -> Question:
        """The question marked as raised."""
        return question._replace(raised=True)
