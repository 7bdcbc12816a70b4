"""The tools that read: tree, tasks, reasons, questions, lessons, and where a task would go."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field

from hopper.cli.mcp.answers import in_brief, with_calls
from hopper.cli.mcp.parameters import (
    InstanceId,
    Json,
    Limit,
    Status,
    TaskId,
    Under,
    id_of_instance,
    id_of_task,
    named,
    seconds_to_wait,
    text,
    with_fields,
)
from hopper.cli.transport import Client, CliError, at, clean
from hopper.cli.waiting import LONGEST_WAIT, awaited_answer
from hopper.task_fields import CREATE

_ROUTED_BY = frozenset(
    {
        "title", "description", "project", "tags", "required_capabilities", "priority",
        "instance_id", "task_type", "complexity", "executor_preference",
    }
)  # fmt: skip
"""The fields that decide where a task goes (R9)."""

_INSTANCE = ("id", "name", "scope", "effective_status", "parent_id", "description")


class Reading:
    """An agent reads the docstring of each tool and the descriptions of its parameters."""

    def __init__(self, client: Client, *, longest_wait: int = LONGEST_WAIT) -> None:
        self._client = client
        self._longest_wait = longest_wait

    def show_tree(
        self,
        instance_id: Annotated[
            str | None, id_of_instance("Only this instance and those below it.")
        ] = None,
    ) -> list[Json]:
        """List the instances (queues) that you may see, with their open tasks.

        Instances form a tree; `scope` is the kind of each. A GLOBAL passes tasks down to PROJECTs,
        a PROJECT to ORCHESTRATIONs (queues of workers) or keeps them for people. The instance that
        has a task now is its holder: claim the task there. GLOBAL and FEDERATED only pass on.
        """
        return [in_tree(row) for row in self._client.pages(at("instances"), {"under": instance_id})]

    def list_tasks(
        self,
        instance_id: Annotated[
            str | None, named("instance_id", "Only tasks that this instance holds.")
        ] = None,
        under: Under = None,
        status: Annotated[
            Status | None,
            Field(description="pending: not begun. claimed: taken. blocked: a person has to act."),
        ] = None,
        project: Annotated[str | None, named("project", "Only tasks of this project.")] = None,
        tags: Annotated[list[str] | None, named("tags", "Only tasks with all these.")] = None,
        search: Annotated[
            str | None,
            text("Only tasks with this text in title or description.", 1000, examples=["login"]),
        ] = None,
        ready: Annotated[
            bool | None, Field(description="true: only what a worker could claim now.")
        ] = None,
        limit: Limit = 20,
    ) -> list[Json]:
        """List tasks in brief, the newest first; get_task shows one whole."""
        return self._tasks(
            limit,
            instance_id=instance_id,
            under=under,
            status=status,
            project=project,
            all_tags=tags,
            search=search,
            ready=ready,
        )

    def list_children(self, task_id: TaskId, limit: Limit = 100) -> list[Json]:
        """List the children of a decomposed task in brief, with their states."""
        return self._tasks(limit, parent_id=task_id)

    def get_task(self, task_id: TaskId) -> Json:
        """Show a task whole: description, questions with answers, result, reason for waiting."""
        return self._get("tasks", task_id)

    def why_task(self, task_id: TaskId) -> Json:
        """Show the reason why a task waits, the person or part that can move it, and how."""
        return dict(with_calls(self._get("tasks", task_id, "why")))

    def trace_task(self, task_id: TaskId) -> Json:
        """Show how a task came to where it is: its delegations in order, and each decision.

        A delegation hands a task from one instance to the next; `pending`: it is only offered.
        """
        chain = self._get("tasks", task_id, "delegations")
        return {**chain, "decisions": self._client.pages(at("tasks", task_id, "decisions"))}

    def attention(
        self,
        mine: Annotated[bool | None, Field(description="true: only what you may move.")] = None,
        under: Under = None,
        limit: Limit = 50,
    ) -> Json:
        """List what waits for a person: open questions, triage, hand work, failed tasks.

        Grouped by the person or role that can move it. Each task has its `next` step: the tool with
        the ids to call it, or the command for a person.
        """
        params = {"mine": mine, "under": under, "limit": limit}
        return dict(with_calls(self._client.get(at("attention"), params)))

    def list_questions(
        self,
        task_id: TaskId,
        wait_seconds: Annotated[
            int, seconds_to_wait("How long to wait for the answer of an open question.")
        ] = 0,
    ) -> list[Json]:
        """List the questions about a task and their answers, the oldest first.

        With `wait_seconds` the call returns as soon as no question is open, else after that time.
        Then claim_task with the `task_id` takes the task up again.
        """
        return awaited_answer(self._client, task_id, min(wait_seconds, self._longest_wait))

    def list_comments(self, task_id: TaskId) -> list[Json]:
        """List what people and agents said about a task, the oldest first."""
        return self._client.pages(at("tasks", task_id, "comments"))

    @with_fields(CREATE, may_be_left_out=True, only=_ROUTED_BY)
    def preview_route(
        self,
        task_id: Annotated[
            str | None, id_of_task("A task that exists. Else give the fields of a new one.")
        ] = None,
        **fields: Any,
    ) -> Json:
        """Show where a task would go and why; changes nothing."""
        if task_id is not None:
            path = at("tasks", task_id, "route")
            return dict(self._client.post(path, params={"preview": True}, key=""))
        if not fields.get("title"):
            raise CliError("Give task_id, or at least the title of a new task.")
        return dict(self._client.post(at("rules", "preview"), clean(fields), key=""))

    def list_lessons(
        self,
        project: Annotated[str | None, named("project", "Only lessons of this project.")] = None,
        domain: Annotated[
            str | None, text("Only this field of knowledge.", 100, examples=["sql"])
        ] = None,
        confidence: Annotated[
            Literal["low", "medium", "high"] | None, Field(description="Only this confidence.")
        ] = None,
        applies_to: Annotated[
            str | None, id_of_task("Only the lessons that apply to the task of this id.")
        ] = None,
        limit: Limit = 20,
    ) -> list[Json]:
        """List what earlier workers learned; read the lessons of your task before you work."""
        params = {
            "project": project,
            "domain": domain,
            "confidence": confidence,
            "applies_to": applies_to,
        }
        return self._client.pages(at("lessons"), params, limit=limit)

    def queue(self, instance_id: InstanceId) -> list[Json]:
        """Return the open tasks that an instance holds, in brief. Raises Refused."""
        path = at("instances", instance_id, "tasks")
        return [in_brief(row) for row in self._client.pages(path, {"open": True}, limit=100)]

    def _tasks(self, limit: int, **params: Any) -> list[Json]:
        return [in_brief(row) for row in self._client.pages(at("tasks"), params, limit=limit)]

    def _get(self, *parts: str) -> Json:
        return dict(self._client.get(at(*parts)))


def in_tree(row: Json) -> Json:
    """Return an instance as the tree shows it."""
    return {**{name: row[name] for name in _INSTANCE}, "open_tasks": row["task_counts"]["open"]}
