"""/tasks: what stands in the queues, and the worker's verbs."""

from __future__ import annotations

from typing import Any

from drf_spectacular.utils import extend_schema, extend_schema_view
from rest_framework import status
from rest_framework.decorators import action
from rest_framework.request import Request
from rest_framework.response import Response

from hopper.errors import Invalid, NotAllowed
from hopper.rest.pagination import KeysetPage
from instances.api import task_serializers as shapes
from instances.api.answers import Answering
from instances.api.filters import EventFilter, TaskFilter
from instances.api.pages import shown_events, shown_lease, shown_task, shown_tasks
from instances.api.permissions import (
    require_role,
    seen_task,
    visible_instances,
    visible_tasks,
)
from instances.models import Attempt, Event, Task
from instances.services import queue
from instances.services.status import set_status
from instances.services.tasks import NewTask, cancel_task, create_task, create_tasks, update_task
from instances.waiting import waiting_on


@extend_schema_view(list=extend_schema(responses=shapes.TaskSerializer(many=True)))
class TaskViewSet(Answering):
    """Tasks."""

    queryset = Task.objects.all()
    serializer_class = shapes.TaskSerializer
    lookup_value_regex = r"[^/]+"
    pagination_class = KeysetPage
    query_parameters = {"search": ("q",)}
    _lists: dict[str, Any] = {
        "list": TaskFilter,
        "search": TaskFilter,
        "events": EventFilter,
        "attempts": None,
    }

    @property
    def filterset_class(self) -> Any:
        """Return the filters of the present list."""
        return self._lists.get(self.action)

    def get_queryset(self) -> Any:
        """Return what the present list is made of; the schema asks for its model."""
        return {"attempts": Attempt, "events": Event}.get(self.action, Task).objects.all()

    def is_list(self) -> bool:
        """Return whether the present action answers a filtered page."""
        return self.action in self._lists

    def list(self, request: Request) -> Response:
        """List the tasks that the caller may see."""
        return self.paged(visible_tasks(self.actor), shown_tasks)

    @extend_schema(parameters=[shapes.SEARCHED], responses=shapes.TaskSerializer(many=True))
    @action(detail=False)
    def search(self, request: Request) -> Response:
        """List the tasks whose text holds `q`."""
        rows = visible_tasks(self.actor)
        text = request.query_params.get("q", "")
        return self.paged(
            TaskFilter().keep_matching(rows, "q", text) if text else rows, shown_tasks
        )

    @extend_schema(
        request=shapes.NewTaskBody,
        responses={201: shapes.TaskSerializer, 200: shapes.TaskSerializer},
    )
    def create(self, request: Request) -> Response:
        """Create a task, placed as far as it goes; 200 with the open one of its `unique_key`."""
        new = self._new(self.body(shapes.NewTaskBody))
        made = create_task(new, actor=self.actor)
        code = status.HTTP_200_OK if made.existed else status.HTTP_201_CREATED
        return self.fresh(lambda: shown_task(made.task.pk), code)

    @extend_schema(
        request=shapes.NewTaskBody(many=True),
        responses={201: shapes.TaskSerializer(many=True)},
        filters=False,
    )
    @action(detail=False, methods=["post"], pagination_class=None)
    def bulk(self, request: Request) -> Response:
        """Create several tasks, all or nothing."""
        read = shapes.NewTaskBody(data=request.data, many=True, min_length=1, max_length=1000)
        read.is_valid(raise_exception=True)
        made = create_tasks([self._new(one) for one in read.validated_data], actor=self.actor)
        ids = [one.task.pk for one in made]

        def show() -> Any:
            rows = Task.objects.in_bulk(ids)
            return shown_tasks([rows[pk] for pk in ids])

        return self.fresh(show, status.HTTP_201_CREATED)

    @extend_schema(responses=shapes.TaskSerializer)
    def retrieve(self, request: Request, pk: str) -> Response:
        """Show one task."""
        seen_task(self.actor, pk)
        return Response(shown_task(pk))

    @extend_schema(request=shapes.TaskChanges, responses=shapes.TaskSerializer)
    def update(self, request: Request, pk: str) -> Response:
        """Edit a task; fields left out stay."""
        task = seen_task(self.actor, pk, "operator")
        changes = self.body(shapes.TaskChanges, task=task)
        update_task(pk, changes=changes, actor=self.actor)
        return Response(shown_task(pk))

    @extend_schema(request=shapes.TaskChanges, responses=shapes.TaskSerializer)
    def partial_update(self, request: Request, pk: str) -> Response:
        """Edit a task; the same as PUT."""
        return self.update(request, pk)

    @extend_schema(responses={204: None})
    def destroy(self, request: Request, pk: str) -> Response:
        """Cancel a task; it stays readable (R16)."""
        self._cancel(pk, "")
        return Response(status=status.HTTP_204_NO_CONTENT)

    @extend_schema(request=shapes.StatusBody, responses=shapes.TaskSerializer)
    @action(detail=True, methods=["post"], url_path="status")
    def set_status(self, request: Request, pk: str) -> Response:
        """Walk a task to a status by hand (R19)."""
        seen_task(self.actor, pk, "worker")
        data = self.body(shapes.StatusBody)
        if data.get("force") or data["status"] == "cancelled":
            seen_task(self.actor, pk, "operator")
        set_status(pk, **data, actor=self.actor)
        return self.fresh(lambda: shown_task(pk))

    @extend_schema(responses=shapes.EventSerializer(many=True))
    @action(detail=True)
    def events(self, request: Request, pk: str) -> Response:
        """List the history of a task, oldest first."""
        task = seen_task(self.actor, pk)
        return self.paged(Event.objects.filter(task=task).order_by("id"), shown_events)

    @extend_schema(responses=shapes.AttemptSerializer(many=True), filters=False)
    @action(detail=True)
    def attempts(self, request: Request, pk: str) -> Response:
        """List the leases of a task, oldest first."""
        task = seen_task(self.actor, pk)
        page = self.paginate_queryset(task.attempts.order_by("number"))
        return self.get_paginated_response(shapes.AttemptSerializer(page, many=True).data)

    @extend_schema(responses=shapes.WhySerializer, filters=False)
    @action(detail=True)
    def why(self, request: Request, pk: str) -> Response:
        """Say why a task waits, and who can move it (R26)."""
        task = seen_task(self.actor, pk)
        reason = waiting_on([task]).get(pk)
        words = f"{reason['code']}: {reason['detail']}" if reason else f"it is {task.status}"
        return Response(
            {"task_id": pk, "status": task.status, "words": words, "waiting_on": reason}
        )

    @extend_schema(request=shapes.ClaimOne, responses=shapes.ClaimedTaskSerializer)
    @action(detail=True, methods=["post"])
    def claim(self, request: Request, pk: str) -> Response:
        """Lease this task to a worker; asking again returns the same lease (R20)."""
        seen_task(self.actor, pk, "worker")
        lease = queue.claim_task(pk, **self.body(shapes.ClaimOne), actor=self.actor)
        return self.fresh(lambda: shown_task(pk) | {"lease": shown_lease(lease)})

    @extend_schema(request=shapes.Start, responses=shapes.TaskSerializer)
    @action(detail=True, methods=["post"], url_path="start", url_name="start")
    def start_work(self, request: Request, pk: str) -> Response:
        """Say that work has begun."""
        return self._report(queue.start_task, pk, shapes.Start)

    @extend_schema(request=shapes.Heartbeat, responses=shapes.TaskSerializer)
    @action(detail=True, methods=["post"])
    def heartbeat(self, request: Request, pk: str) -> Response:
        """Extend the lease; keep a checkpoint and the progress."""
        return self._report(queue.heartbeat, pk, shapes.Heartbeat)

    @extend_schema(request=shapes.Complete, responses=shapes.TaskSerializer)
    @action(detail=True, methods=["post"])
    def complete(self, request: Request, pk: str) -> Response:
        """Finish a task with its result (R17)."""
        return self._report(queue.complete_task, pk, shapes.Complete)

    @extend_schema(request=shapes.Fail, responses=shapes.TaskSerializer)
    @action(detail=True, methods=["post"])
    def fail(self, request: Request, pk: str) -> Response:
        """Report that the attempt failed (R15)."""
        return self._report(queue.fail_task, pk, shapes.Fail)

    @extend_schema(request=shapes.Release, responses=shapes.TaskSerializer)
    @action(detail=True, methods=["post"])
    def release(self, request: Request, pk: str) -> Response:
        """Give a task back to its queue."""
        return self._report(queue.release_task, pk, shapes.Release)

    @extend_schema(request=shapes.Cancel, responses=shapes.TaskSerializer)
    @action(detail=True, methods=["post"])
    def cancel(self, request: Request, pk: str) -> Response:
        """Cancel a task and its open descendants (R16)."""
        data = self.body(shapes.Cancel)
        self._cancel(pk, data.get("reason", ""))
        return self.fresh(lambda: shown_task(pk))

    def _new(self, data: dict[str, Any]) -> NewTask:
        """Return the new task, if the caller may put it there."""
        place = data.get("instance_id")
        if place is not None:
            if not visible_instances(self.actor).filter(pk=place).exists():
                raise Invalid.field("instance_id", f"there is no instance {place}", "unknown")
            require_role(self.actor, "worker", [place])
        parent = data.get("parent_id")
        if parent is not None and not visible_tasks(self.actor).filter(pk=parent).exists():
            raise Invalid.field("parent_id", f"there is no task {parent}", "unknown")
        if place is None and parent is None and not self.actor.grants:
            raise NotAllowed("This takes the role worker somewhere.", role="worker")
        return NewTask(**data)

    def _report(self, report: Any, pk: str, serializer: Any) -> Response:
        """Carry out a worker's verb: by the role at the holder, or by the lease's token."""
        task = seen_task(self.actor, pk)
        data = self.body(serializer)
        data.pop("worker", None)
        if not (data.get("token") and data["token"] == task.lease_token):
            seen_task(self.actor, pk, "worker")
        report(pk, **data, actor=self.actor)
        return self.fresh(lambda: shown_task(pk))

    def _cancel(self, pk: str, reason: str) -> None:
        task = seen_task(self.actor, pk)
        if task.created_by != self.actor.name:
            require_role(self.actor, "operator", [task.instance_id, task.origin_id])
        cancel_task(pk, reason=reason, actor=self.actor)
