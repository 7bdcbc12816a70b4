"""The tools of a worker: claim, report, ask, decompose, hand up, resume."""

from __future__ import annotations

from contextlib import suppress
from typing import Annotated, Any

from pydantic import Field

from hopper.cli.briefing import TOOLS, briefing
from hopper.cli.mcp import person
from hopper.cli.mcp.answers import changed
from hopper.cli.mcp.parameters import (
    Children,
    Choices,
    DefaultAnswer,
    Json,
    LeaseSeconds,
    TaskId,
    Timeout,
    Token,
    Worker,
    id_of_instance,
    id_of_task,
    named,
    seconds_to_wait,
    text,
    with_fields,
)
from hopper.cli.mcp.session import SessionLeases
from hopper.cli.transport import Client, CliError, Refused, at, clean
from hopper.cli.waiting import LONGEST_WAIT, awaited_claim
from hopper.cli.worker.answers import Meaning, of_report, require_done
from hopper.task_fields import TERMS


class Working:
    """An agent reads the docstring of each tool and the descriptions of its parameters.

    The leases of the session need no token: the tools know them.
    """

    def __init__(
        self, client: Client, session: SessionLeases, *, longest_wait: int = LONGEST_WAIT
    ) -> None:
        self._client = client
        self._session = session
        self._longest_wait = longest_wait

    def claim_task(
        self,
        instance_id: Annotated[
            str | None, id_of_instance("Take the next task of this instance.")
        ] = None,
        task_id: Annotated[str | None, id_of_task("Or take this one task.")] = None,
        worker: Worker = None,
        capabilities: Annotated[
            list[str] | None,
            named("required_capabilities", "What you can do; only tasks that need no more."),
        ] = None,
        tags: Annotated[list[str] | None, named("tags", "Only tasks with one of these.")] = None,
        lease_seconds: LeaseSeconds = None,
        wait_seconds: Annotated[
            int, seconds_to_wait("How long to wait until the instance has a task.")
        ] = 0,
    ) -> Json:
        """Take a task: give `instance_id` for its next one, or `task_id`.

        Returns `tasks` (none or one) and `waiting`, the reason for none. Your right to the task is
        a lease: the task is yours while this session lasts, however long you work; at its end the
        task goes back. A task that was begun before has `lease.checkpoint` (go on from there) and
        answers in `questions`.
        """
        name = worker or self._session.worker
        if task_id is not None:
            return self._held(self._claim(task_id, name, lease_seconds), name)
        if instance_id is None:
            raise CliError("Give instance_id or task_id.", hint="Next: show_tree lists instances.")
        body = {
            "worker": name,
            "capabilities": capabilities,
            "tags": tags,
            "lease_seconds": lease_seconds,
        }
        seconds = min(wait_seconds, self._longest_wait)
        return self._held(awaited_claim(self._client, instance_id, body, seconds), name)

    def heartbeat(
        self,
        task_id: TaskId,
        progress: Annotated[
            float | None, Field(description="The part that is done.", ge=0, le=1, examples=[0.5])
        ] = None,
        checkpoint: Annotated[
            Json | None,
            Field(description="From where another could go on.", examples=[{"step": 3}]),
        ] = None,
        token: Token = None,
    ) -> Json:
        """Report your progress, and a checkpoint from which another worker could go on.

        Do it after each finished step: if you are stopped, the next claim begins there. The lease
        itself is extended without you.
        """
        task = self._report(task_id, "heartbeat", token, progress=progress, checkpoint=checkpoint)
        kept = ("id", "title", "status", "instance_id", "lease_expires_at")
        return {name: task[name] for name in kept}

    def complete_task(
        self,
        task_id: TaskId,
        result: Annotated[
            Any, Field(description="Any JSON value.", examples=[{"pull_request": 7}])
        ] = None,
        next_of: Annotated[
            str | None, id_of_instance("Also take the next task of this instance.")
        ] = None,
        token: Token = None,
    ) -> Json:
        """Report a task as done, with its result. Repeating is harmless.

        With `next_of` the same call takes your next task there: it is in `tasks`, as from
        claim_task.
        """
        if next_of is None:
            return self._end(task_id, "complete", token, result=result)
        name = self._session.worker
        report = {"id": task_id, **self._body(task_id, token, result=result)}
        found = self._post("instances", next_of, "next", worker=name, completed=[report])
        answer = self._held(found, name)
        require_done(answer)
        self._session.drop(task_id)
        return answer

    def fail_task(
        self,
        task_id: TaskId,
        error: Annotated[str, text("What went wrong.", 100_000, examples=["3 tests fail"])],
        retryable: Annotated[
            bool, Field(description="Whether another attempt could succeed.")
        ] = True,
        token: Token = None,
    ) -> Json:
        """Report that your attempt failed. A retryable one is tried again, some times."""
        return self._end(task_id, "fail", token, error=error, retryable=retryable)

    def release_task(
        self,
        task_id: TaskId,
        reason: Annotated[
            str | None, text("Why you give it back.", 10_000, examples=["needs a GPU"])
        ] = None,
        token: Token = None,
    ) -> Json:
        """Give a task back undone, for another worker. It does not count as a failure."""
        return self._end(task_id, "release", token, reason=reason)

    def ask_question(
        self,
        task_id: TaskId,
        question: Annotated[
            str, text("What a person has to decide.", 10_000, examples=["Which licence?"])
        ],
        choices: Choices = None,
        default: DefaultAnswer = None,
        timeout_seconds: Timeout = None,
        token: Token = None,
    ) -> Json:
        """Ask a person about your task: your lease ends and the task waits for the answer.

        Store a checkpoint with heartbeat first. list_questions waits for the answer; then
        claim_task with the `task_id` takes the task up again. If the person at your client answers
        at once, the task comes back with its lease and the answer in `questions`.
        """
        if not person.was_asked():
            asked = {"question": question, "choices": choices, "default": default}
            task = self._end(task_id, "ask", token, timeout_seconds=timeout_seconds, **asked)
            if not person.can_be_asked():
                return task
        answer = person.ask(question, choices or ())
        if answer is None:
            return changed(dict(self._client.get(at("tasks", task_id))))
        return self._take_up(task_id, question, answer)

    def escalate_task(
        self,
        task_id: TaskId,
        reason: Annotated[
            str, text("What the level above has to decide.", 10_000, examples=["Is it worth it?"])
        ],
        token: Token = None,
    ) -> Json:
        """Hand a task up to the instance that it came from, with a question to be decided there."""
        return self._end(task_id, "escalate", token, reason=reason)

    @with_fields(TERMS)
    def decompose_task(
        self, task_id: TaskId, children: Children, token: Token = None, **terms: Any
    ) -> list[Json]:
        """Make all children of your task in one call; your lease ends, the task waits for them.

        A `key` of yours makes repeating the call harmless; `instance_id` is a child instance to
        send the child to. With completion `resume` the task comes back to be finished by hand.
        """
        body = self._body(task_id, token, children=children, **terms)
        made: list[Json] = self._client.post(at("tasks", task_id, "decompose"), body)
        self._session.drop(task_id)
        return [changed(task) for task in made]

    def resume_work(self, worker: Worker = None) -> Json:
        """Tell what you hold, how far it is, your open questions and the exact next step.

        Call it first in a session, and when you have lost your context. Tasks that `worker` held in
        a session that was cut off are yours again.
        """
        name = worker or self._session.worker
        rows = self._client.pages(
            at("tasks"), {"worker": name, "status": ["claimed", "in_progress"]}, limit=20
        )
        for row in rows:
            if self._session.token(row["id"]) is None:
                with suppress(Refused):
                    self._held(self._claim(row["id"], name), name)
        held = self._session.task_ids()
        return {"task_ids": held, "briefing": self.brief(name), "summary": f"{len(held)} held."}

    def brief(self, worker: str | None = None) -> str:
        """Return what the worker of this session should know now."""
        name = worker or self._session.worker
        return briefing(self._client, name, self._session.task_ids(), words=TOOLS, named=False)

    def _claim(self, task_id: str, worker: str, lease_seconds: int | None = None) -> Json:
        task = self._post("tasks", task_id, "claim", worker=worker, lease_seconds=lease_seconds)
        return {"tasks": [task]}

    def _held(self, answer: Json, worker: str) -> Json:
        """Keep the lease of a claim's answer for this session."""
        for task in answer["tasks"]:
            self._session.keep(task, worker)
        return answer

    def _take_up(self, task_id: str, question: str, answer: str) -> Json:
        """Give the answer of the person at the client, and claim the task again."""
        rows = self._client.pages(at("tasks", task_id, "questions"))
        asked = next((one for one in reversed(rows) if one["text"] == question), None)
        if asked is None:
            raise CliError(f"The question about {task_id} is gone.", hint="Next: get_task.")
        task = self._post("tasks", task_id, "answer", question_id=asked["id"], answer=answer)
        name = self._session.worker
        try:
            found = self._held(self._claim(task_id, name), name)["tasks"][0]
        except Refused:
            # Another worker was faster, or the task goes elsewhere with its answer.
            return changed(task)
        return dict(found)

    def _end(self, task_id: str, verb: str, token: str | None, **fields: Any) -> Json:
        """Send a report that ends the lease."""
        task = self._report(task_id, verb, token, **fields)
        self._session.drop(task_id)
        return changed(task)

    def _report(self, task_id: str, verb: str, token: str | None, **fields: Any) -> Json:
        body = self._body(task_id, token, **fields)
        try:
            return self._post("tasks", task_id, verb, **body)
        except Refused as refusal:
            if of_report(refusal) is Meaning.OVER:
                self._session.drop(task_id, body.get("token"))
            raise

    def _body(self, task_id: str, token: str | None, **fields: Any) -> Json:
        """Return a report's body, with the token of the lease that this session holds."""
        return clean({"token": token or self._session.token(task_id), **fields})

    def _post(self, *parts: str, **fields: Any) -> Json:
        return dict(self._client.post(at(*parts), clean(fields)))
