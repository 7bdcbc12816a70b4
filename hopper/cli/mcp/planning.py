"""The tools that bring work in, change it, hand it on, and decide about it."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field

from hopper.cli.mcp.answers import changed, in_brief
from hopper.cli.mcp.parameters import (
    ByHand,
    DelegationId,
    InstanceId,
    Json,
    NewTasks,
    TaskId,
    id_of_task,
    named,
    text,
    with_fields,
)
from hopper.cli.transport import Client, CliError, at, clean
from hopper.task_fields import CREATE, EDIT


class Planning:
    """An agent reads the docstring of each tool and the descriptions of its parameters."""

    def __init__(self, client: Client) -> None:
        self._client = client

    @with_fields(CREATE)
    def add_task(self, **fields: Any) -> Json:
        """Create a task; it is routed at once, as far as it goes.

        Without `instance_id` and `parent_id` it enters at the GLOBAL instance, if there is exactly
        one. The answer says where it went and why. With a `unique_key` of yours a repeated call
        returns the task that is still open.
        """
        entry = self._entry(fields)
        task = changed(self._post("tasks", **{**fields, **entry.get("at", {})}))
        way = self._client.pages(at("tasks", task["id"], "decisions"))
        words = [f"{task['id']} {entry['words']}", *map(_step, way), f"It is {_place(task)}."]
        return {**task, "summary": " ".join(words)}

    def add_tasks(self, tasks: NewTasks) -> list[Json]:
        """Create several tasks in one call, all or none; each as add_task does."""
        rows = [{**clean(row), **self._entry(row).get("at", {})} for row in tasks]
        return [in_brief(task) for task in self._client.post(at("tasks", "bulk"), rows)]

    @with_fields(EDIT, may_be_left_out=True)
    def update_task(self, task_id: TaskId, **fields: Any) -> Json:
        """Change the given fields of a task that has not ended; the others stay.

        A new project, tag or capability routes a waiting task anew. delegate_task moves a task.
        """
        return changed(dict(self._client.patch(at("tasks", task_id), clean(fields))))

    def set_status(
        self,
        task_id: TaskId,
        status: Annotated[ByHand, Field(description="The status that the task gets.")],
        owner: Annotated[
            str | None,
            text("For in_progress: the person who works on it.", 200, examples=["alice"]),
        ] = None,
        reason: Annotated[str | None, text("Why.", 10_000, examples=["done by hand"])] = None,
        force: Annotated[
            bool | None,
            Field(
                description="true: also from a state without a legal way there. Needs the role "
                "operator."
            ),
        ] = None,
    ) -> Json:
        """Set a status by hand, for work without a lease: the legal steps are walked for you.

        For a task that you claimed use complete_task, fail_task or release_task.
        """
        return changed(
            self._post(
                "tasks", task_id, "status", status=status, owner=owner, reason=reason, force=force
            )
        )

    def cancel_task(
        self,
        task_id: TaskId,
        reason: Annotated[str | None, text("Why.", 10_000, examples=["no longer needed"])] = None,
        preview: Annotated[
            bool | None, Field(description="true: only say what would be cancelled.")
        ] = None,
    ) -> Json:
        """Cancel a task with its open children and their leases; retry_task takes it back."""
        return changed(self._post("tasks", task_id, "cancel", reason=reason, preview=preview))

    def retry_task(
        self,
        task_id: TaskId,
        reason: Annotated[str | None, text("Why.", 10_000, examples=["the disk is free"])] = None,
    ) -> Json:
        """Open a task again that is done, failed or cancelled."""
        return changed(self._post("tasks", task_id, "retry", reason=reason))

    def delegate_task(
        self,
        task_id: TaskId,
        target_instance_id: InstanceId,
        delegation_type: Annotated[
            Literal["route", "reassign"] | None,
            Field(description="route: one step down. reassign: from one child to its sibling."),
        ] = None,
        notes: Annotated[str, text("A word to the target.", 100_000, examples=["urgent"])] = "",
        force: Annotated[
            bool | None, Field(description="true: although the target refused it before.")
        ] = None,
        reason: Annotated[
            str | None, text("Why `force`.", 10_000, examples=["it has room now"])
        ] = None,
    ) -> Json:
        """Hand a task down to a child of the instance that holds it; the target answers at once.

        A status `pending` in the answer means that a person accepts or rejects there.
        """
        return self._post(
            "tasks",
            task_id,
            "delegate",
            target_instance_id=target_instance_id,
            delegation_type=delegation_type,
            notes=notes,
            accept="auto",
            force=force,
            reason=reason,
        )

    def accept_delegation(
        self,
        delegation_id: DelegationId,
        notes: Annotated[str | None, text("A word about it.", 100_000, examples=["begun"])] = None,
    ) -> Json:
        """Take a task that is offered to an instance of yours."""
        return self._post("delegations", delegation_id, "accept", notes=notes)

    def reject_delegation(
        self,
        delegation_id: DelegationId,
        reason: Annotated[
            str, text("Why the instance does not take it.", 10_000, examples=["wrong language"])
        ],
    ) -> Json:
        """Refuse a task that is offered to an instance of yours; it is placed elsewhere."""
        return self._post("delegations", delegation_id, "reject", reason=reason)

    def answer_question(
        self,
        task_id: TaskId,
        answer: Annotated[
            str, text("One of its choices if it has any, else any text.", 10_000, examples=["MIT"])
        ],
        question_id: Annotated[
            str | None,
            text("Default: the open question, of list_questions.", 64, examples=["q-0199c2b4"]),
        ] = None,
    ) -> Json:
        """Answer a question about a task; the task goes on where it was asked."""
        question_id = question_id or self.open_question(task_id)["id"]
        return changed(
            self._post("tasks", task_id, "answer", question_id=question_id, answer=answer)
        )

    def comment_on_task(
        self,
        task_id: TaskId,
        comment: Annotated[
            str,
            text(
                "What people should know about it.", 100_000, examples=["Blocked by the firewall"]
            ),
        ],
    ) -> Json:
        """Say something about a task, finished or not; its state does not change."""
        return self._post("tasks", task_id, "comments", text=comment)

    def add_lesson(
        self,
        title: Annotated[
            str, text("The lesson in one line.", 500, examples=["Tests need a free port"])
        ],
        domain: Annotated[str, text("Its field of knowledge.", 100, examples=["sql"])],
        description: Annotated[
            str | None, text("The lesson itself.", 100_000, examples=["Use port 0."])
        ] = None,
        confidence: Annotated[
            Literal["low", "medium", "high"], Field(description="How sure you are.")
        ] = "medium",
        task_id: Annotated[str | None, id_of_task("The id of the task that taught it.")] = None,
        project: Annotated[str | None, named("project", "The project that it helps.")] = None,
    ) -> Json:
        """Write down what later workers on this project should know."""
        return self._post(
            "lessons",
            title=title,
            domain=domain,
            description=description,
            confidence=confidence,
            task_id=task_id,
            project=project,
        )

    def open_question(self, task_id: str) -> Json:
        """Return the open question about a task. Raises CliError."""
        for row in self._client.pages(at("tasks", task_id, "questions")):
            if row["state"] == "open":
                return dict(row)
        raise CliError(f"{task_id} has no open question.", hint="Next: get_task shows its state.")

    def _entry(self, fields: Json) -> Json:
        """Return where a task without a place enters (`at`), in words; R25 leaves it to callers."""
        if fields.get("instance_id") or fields.get("parent_id"):
            return {"words": "entered where you said."}
        ids = [row["id"] for row in self._client.pages(at("instances"), {"scope": "GLOBAL"})]
        if len(ids) == 1:
            return {"at": {"instance_id": ids[0]}, "words": f"entered at {ids[0]}, the GLOBAL."}
        seen = f"see {', '.join(ids)}" if ids else "see none"
        return {"words": f"entered nowhere: give instance_id (of the GLOBALs you {seen})."}

    def _post(self, *parts: str, **fields: Any) -> Json:
        return dict(self._client.post(at(*parts), clean(fields)))


def _place(task: Json) -> str:
    held = task.get("instance_id")
    reason = task.get("waiting_on") or {}
    words = f"{task['status']} at {held}" if held else f"{task['status']}, held by no instance"
    return f"{words} ({reason['code']})" if reason.get("code") else words


def _step(decision: Json) -> str:
    """Return one decision about the way of a task, in words."""
    to = f"{decision['verdict']} {decision['target_id'] or ''}".strip()
    return f"{decision['instance_id']}: {to} ({'; '.join(decision['reasons'])})."
