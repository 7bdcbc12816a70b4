"""/tasks: tasks and the calls of a worker."""

from __future__ import annotations

from typing import Any

from django.http import StreamingHttpResponse
from rest_framework import status
from rest_framework.decorators import action
from rest_framework.request import Request
from rest_framework.response import Response

from hopper.rest.auth import BY_LEASE, Lease
from hopper.rest.described import (
    OpenApiParameter,
    OpenApiTypes,
    PolymorphicProxySerializer,
    extend_schema,
    extend_schema_view,
)
from hopper.rest.input import flag
from hopper.rest.pagination import HistoryPage
from hopper.serving.long_poll import MAX_SECONDS, long_poll
from instances.api import batch_serializers as batches, task_serializers as shapes
from instances.api.base import Answering
from instances.api.filters import HistoryFilter, TaskFilter, TaskSearchFilter
from instances.api.permissions import (
    is_workers_own,
    known_events,
    lease_as_credential,
    refused_reports,
    require_answering,
    require_cancelling,
    require_references,
    require_role,
    require_worker_somewhere,
    seen_task,
    token_in,
    visible_tasks,
)
from instances.api.preview_serializers import TaskPreviewSerializer, shown_task_preview
from instances.api.shown import (
    TASK_VERSION,
    reports_of,
    shown_lease,
    shown_now,
    shown_task,
    shown_tasks,
    shown_verdict,
    shown_whole_task,
)
from instances.api.task_serializers import in_utc
from instances.lifecycle.preview import preview_cancel
from instances.models import Attempt, Comment, Event, Question, Task
from instances.tasks import worker
from instances.tasks.batches import complete_tasks
from instances.tasks.comments import add_comment
from instances.tasks.creating import NewTask, create_task, create_tasks
from instances.tasks.dependencies import predecessors
from instances.tasks.editing import update_task
from instances.tasks.ending import cancel_task, discard_task
from instances.tasks.questions import NewQuestion, answer_question, ask
from instances.tasks.reopening import reopen_task
from instances.tasks.status_by_hand import set_status
from instances.waiting import in_words, next_step, waiting_on

_WAIT = OpenApiParameter(
    "wait",
    {"type": "integer", "minimum": 0, "maximum": MAX_SECONDS, "default": 0},
    description="The seconds to wait for a better answer.",
)


@extend_schema_view(list=extend_schema(responses=shapes.TaskSerializer(many=True)))
class TaskViewSet(Answering):
    """Tasks."""

    queryset = Task.objects.none()
    serializer_class = shapes.TaskSerializer
    version = TASK_VERSION
    lookup_value_regex = r"[^/]+"
    filterset_class = TaskFilter
    query_parameters = {"destroy": ("preview",), "questions": ("wait",)}
    listed = ("list", "search", "events", "attempts", "questions", "comments")

    def list(self, request: Request) -> Response:
        """List the tasks that the caller may see."""
        return self.paged(visible_tasks(self.actor, named=True), shown_tasks)

    @extend_schema(responses=shapes.TaskSerializer(many=True))
    @action(detail=False, filterset_class=TaskSearchFilter)
    def search(self, request: Request) -> Response:
        """List the tasks whose text holds `q`."""
        return self.paged(visible_tasks(self.actor, named=True), shown_tasks)

    @extend_schema(
        request=shapes.NewTaskBody,
        responses={201: shapes.TaskSerializer, 200: shapes.TaskSerializer},
    )
    def create(self, request: Request) -> Response:
        """Create a task and route it. Returns 200 with the open task of its `unique_key`."""
        data = self.body(shapes.NewTaskBody)
        require_references(self.actor, [data])
        made = create_task(NewTask(**data), actor=self.actor)
        code = status.HTTP_200_OK if made.existed else status.HTTP_201_CREATED
        (known,) = shown_tasks([made.task])
        return self.fresh(lambda: shown_task(made.task.pk), code, known=known)

    @extend_schema(
        request=shapes.ManyTasks,
        responses={201: shapes.TaskSerializer(many=True)},
        filters=False,
    )
    @action(detail=False, methods=["post"], pagination_class=None)
    def bulk(self, request: Request) -> Response:
        """Create several tasks, all or nothing."""
        bodies = self.body(shapes.ManyTasks)
        require_references(self.actor, bodies, listed="")
        made = create_tasks([NewTask(**one) for one in bodies], actor=self.actor)
        tasks = [one.task for one in made]
        ids = [task.pk for task in tasks]
        known = shown_tasks(tasks)
        return self.fresh(lambda: shown_now(ids), status.HTTP_201_CREATED, known=known)

    @extend_schema(
        request=batches.ManyReports,
        responses=batches.VerdictSerializer(many=True),
        filters=False,
    )
    @action(detail=False, methods=["post"], url_path="complete", pagination_class=None)
    def complete_many(self, request: Request) -> Response:
        """Finish up to 100 tasks. Each report is answered on its own (R17)."""
        require_worker_somewhere(self.actor, "To complete tasks in a batch")
        reports = reports_of(self.body(batches.ManyReports))
        refused = refused_reports(self.actor, reports)
        verdicts = complete_tasks(reports, refused=refused, actor=self.actor)
        return Response([shown_verdict(one) for one in verdicts])

    @extend_schema(responses=shapes.WholeTaskSerializer)
    def retrieve(self, request: Request, pk: str) -> Response:
        """Show one task, with the progress and the checkpoint that its worker last reported."""
        seen_task(self.actor, pk)
        return Response(shown_whole_task(pk))

    @extend_schema(request=shapes.TaskChanges, responses=shapes.TaskSerializer)
    def update(self, request: Request, pk: str) -> Response:
        """Edit a task. Omitted fields stay."""
        task = seen_task(self.actor, pk, "operator")
        changes = self.body(shapes.TaskChanges, task=task)
        known = predecessors(task) if changes.get("depends_on") else ()
        require_references(self.actor, [changes], new=False, siblings=known)
        update_task(pk, changes=changes, actor=self.actor)
        return Response(shown_task(pk))

    @extend_schema(request=shapes.TaskChanges, responses=shapes.TaskSerializer)
    def partial_update(self, request: Request, pk: str) -> Response:
        """Edit a task; the same as PUT."""
        return self.update(request, pk)

    @extend_schema(
        parameters=[
            OpenApiParameter(
                "preview", OpenApiTypes.BOOL, description="Only say what it would do (200)."
            )
        ],
        responses={204: None, 200: TaskPreviewSerializer},
    )
    def destroy(self, request: Request, pk: str) -> Response:
        """Cancel a task. The task stays readable (R16)."""
        require_cancelling(self.actor, seen_task(self.actor, pk))
        if flag(request.query_params, "preview"):
            preview = preview_cancel(pk, actor=self.actor)
            return Response(shown_task_preview(pk, preview, self.actor))
        cancel_task(pk, actor=self.actor)
        return Response(status=status.HTTP_204_NO_CONTENT)

    @extend_schema(request=shapes.StatusBody, responses=shapes.TaskSerializer)
    @action(detail=True, methods=["post"], url_path="status")
    def set_status(self, request: Request, pk: str) -> Response:
        """Walk a task to a status by hand (R19)."""
        task = seen_task(self.actor, pk)
        data = self.body(shapes.StatusBody)
        if data["status"] == "cancelled" and not data.get("force"):
            require_cancelling(self.actor, task)
        else:
            seen_task(self.actor, pk, "operator" if data.get("force") else "worker")
        set_status(pk, **data, actor=self.actor)
        return self.fresh(lambda: shown_task(pk))

    @extend_schema(responses=shapes.EventSerializer(many=True))
    @action(
        detail=True,
        queryset=Event.objects.none(),
        filterset_class=HistoryFilter,
        pagination_class=HistoryPage,
    )
    def events(self, request: Request, pk: str) -> Response:
        """List the history of a task, oldest first."""
        return self.paged_events(known_events(self.actor, seen_task(self.actor, pk)))

    @extend_schema(responses=shapes.AttemptSerializer(many=True), filters=False)
    @action(
        detail=True,
        queryset=Attempt.objects.none(),
        filterset_class=None,
    )
    def attempts(self, request: Request, pk: str) -> Response:
        """List the leases of a task, oldest first."""
        page = self.paginate_queryset(seen_task(self.actor, pk).attempts.order_by("number"))
        return self.get_paginated_response(shapes.AttemptSerializer(page, many=True).data)

    @extend_schema(responses=shapes.WhySerializer, filters=False)
    @action(detail=True)
    def why(self, request: Request, pk: str) -> Response:
        """Show why a task waits, and the person or part that can move the task (R26)."""
        task = seen_task(self.actor, pk)
        reason = waiting_on([task]).get(pk)
        step = next_step(task, reason) if reason else None
        return Response(
            {
                "task_id": pk,
                "status": task.status,
                "words": in_words(task, reason, step),
                "waiting_on": reason and in_utc(reason),
                "next": step,
            }
        )

    @extend_schema(request=shapes.ClaimOne, responses=shapes.ClaimedTaskSerializer)
    @action(detail=True, methods=["post"])
    def claim(self, request: Request, pk: str) -> Response:
        """Lease this task to a worker. A repeated request returns the same lease (R20)."""
        seen_task(self.actor, pk, "worker")
        lease = worker.claim_task(pk, **self.body(shapes.ClaimOne), actor=self.actor)
        return self.fresh(lambda: shown_task(pk) | {"lease": shown_lease(lease)})

    @extend_schema(request=shapes.Start, responses=shapes.TaskSerializer)
    @action(detail=True, methods=["post"], url_path="start", url_name="start")
    def start_work(self, request: Request, pk: str) -> Response:
        """Report the start of work."""
        return self._report(worker.start_task, pk, shapes.Start)

    @extend_schema(request=shapes.Heartbeat, responses=shapes.TaskSerializer)
    @action(detail=True, methods=["post"])
    def heartbeat(self, request: Request, pk: str) -> Response:
        """Extend the lease and store checkpoint and progress."""
        return self._report(worker.heartbeat, pk, shapes.Heartbeat)

    @extend_schema(request=shapes.Complete, responses=shapes.TaskSerializer)
    @action(detail=True, methods=["post"])
    def complete(self, request: Request, pk: str) -> Response:
        """Finish a task with its result (R17)."""
        return self._report(worker.complete_task, pk, shapes.Complete)

    @extend_schema(request=shapes.Fail, responses=shapes.TaskSerializer)
    @action(detail=True, methods=["post"])
    def fail(self, request: Request, pk: str) -> Response:
        """Report that the attempt failed (R15)."""
        return self._report(worker.fail_task, pk, shapes.Fail)

    @extend_schema(request=shapes.Release, responses=shapes.TaskSerializer)
    @action(detail=True, methods=["post"])
    def release(self, request: Request, pk: str) -> Response:
        """Give a task back to its queue."""
        return self._report(worker.release_task, pk, shapes.Release)

    @extend_schema(request=shapes.Ask, responses=shapes.TaskSerializer)
    @action(detail=True, methods=["post"])
    def ask(self, request: Request, pk: str) -> Response:
        """Ask a person about a task; its lease ends, the task is blocked until the answer (R11)."""
        token = token_in(request)
        if not is_workers_own(pk, token):
            seen_task(self.actor, pk, "operator")
        data = self.body(shapes.Ask)
        new = NewQuestion(
            data["question"],
            tuple(data.get("choices", ())),
            data.get("default"),
            data.get("timeout_seconds"),
        )
        ask(pk, new, token=token, actor=self.actor)
        return self.fresh(lambda: shown_task(pk))

    @extend_schema(request=shapes.AnswerQuestion, responses=shapes.TaskSerializer)
    @action(detail=True, methods=["post"])
    def answer(self, request: Request, pk: str) -> Response:
        """Answer a question about a task; the same answer again changes nothing (R11)."""
        require_answering(self.actor, seen_task(self.actor, pk))
        data = self.body(shapes.AnswerQuestion)
        back = data.get("return", True)
        answer_question(pk, data["question_id"], answer=data["answer"], back=back, actor=self.actor)
        return self.fresh(lambda: shown_task(pk))

    @extend_schema(responses=shapes.CommentSerializer(many=True), filters=False)
    @action(detail=True, queryset=Comment.objects.none(), filterset_class=None)
    def comments(self, request: Request, pk: str) -> Response:
        """List the comments on a task, oldest first."""
        page = self.paginate_queryset(seen_task(self.actor, pk).comments.order_by("id"))
        return self.get_paginated_response(shapes.CommentSerializer(page, many=True).data)

    @extend_schema(request=shapes.NewComment, responses={201: shapes.CommentSerializer})
    @comments.mapping.post
    def comment(self, request: Request, pk: str) -> Response:
        """Comment on a task, finished or not."""
        seen_task(self.actor, pk, "worker")
        made = add_comment(pk, **self.body(shapes.NewComment), actor=self.actor)
        return Response(shapes.CommentSerializer(made).data, status=status.HTTP_201_CREATED)

    @extend_schema(
        parameters=[_WAIT], responses=shapes.QuestionSerializer(many=True), filters=False
    )
    @action(detail=True, queryset=Question.objects.none(), filterset_class=None)
    def questions(self, request: Request, pk: str) -> Response | StreamingHttpResponse:
        """List the questions about a task and their answers, oldest first.

        With `wait` the answer comes as soon as no question is open, else after that time.
        """

        def look() -> tuple[Response, bool]:
            rows = seen_task(self.actor, pk).questions.order_by("number")
            page = self.paginate_queryset(rows) or []
            answer = self.get_paginated_response(shapes.QuestionSerializer(page, many=True).data)
            return answer, any(row.is_open for row in page)

        return long_poll(self, look)

    @extend_schema(
        request=shapes.Cancel,
        responses=PolymorphicProxySerializer(
            "CancelledOrPreview", [shapes.TaskSerializer, TaskPreviewSerializer], None
        ),
    )
    @action(detail=True, methods=["post"])
    def cancel(self, request: Request, pk: str) -> Response:
        """Cancel a task and its open descendants (R16). `preview` only describes the changes."""
        require_cancelling(self.actor, seen_task(self.actor, pk))
        options = self.body(shapes.Cancel)
        if options.pop("preview", False):
            preview = preview_cancel(pk, **options, actor=self.actor)
            return Response(shown_task_preview(pk, preview, self.actor))
        cancel_task(pk, **options, actor=self.actor)
        return self.fresh(lambda: shown_task(pk))

    @extend_schema(request=shapes.Retry, responses=shapes.TaskSerializer)
    @action(detail=True, methods=["post"])
    def retry(self, request: Request, pk: str) -> Response:
        """Open an ended task again, at its last living holder (R18)."""
        task = seen_task(self.actor, pk)
        require_role(self.actor, "operator", [task.instance_id, task.origin_id])
        reopen_task(pk, **self.body(shapes.Retry), actor=self.actor)
        return self.fresh(lambda: shown_task(pk))

    @extend_schema(request=shapes.Discard, responses=shapes.TaskSerializer)
    @action(detail=True, methods=["post"])
    def discard(self, request: Request, pk: str) -> Response:
        """Take a failed task out of the dead letters (R15)."""
        task = seen_task(self.actor, pk)
        require_role(self.actor, "operator", [task.instance_id, task.origin_id])
        discard_task(pk, **self.body(shapes.Discard), actor=self.actor)
        return self.fresh(lambda: shown_task(pk))

    def lease(self, token: str) -> Lease | None:
        """Return the lease of this token, for a worker's report on its own task."""
        if self.action not in BY_LEASE:
            return super().lease(token)
        return lease_as_credential(self.kwargs["pk"], token)

    def given(self) -> Any:
        """Return the body; a caller known by its lease need not repeat the token in it."""
        given, lease = super().given(), self.request.auth
        if isinstance(lease, Lease) and isinstance(given, dict):
            return {"token": lease.token, **given}
        return given

    def _report(self, report: Any, pk: str, serializer: Any) -> Response:
        """Carry out a worker's call, permitted by the role at the holder or by the lease token."""
        if not is_workers_own(pk, token_in(self.request)):
            seen_task(self.actor, pk, "worker")
        data = self.body(serializer)
        data.pop("worker", None)
        report(pk, **data, actor=self.actor)
        return self.fresh(lambda: shown_task(pk))
