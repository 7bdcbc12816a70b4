"""/delegations, and the actions of delegation below /tasks/{id} and /instances/{id}."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import fields
from typing import Any

from django.db.models import Q, QuerySet
from rest_framework import status
from rest_framework.decorators import action
from rest_framework.request import Request
from rest_framework.response import Response

from delegation.api import serializers as shapes
from delegation.api.filters import DelegationFilter, InstanceDelegationFilter
from delegation.choices import DelegationType
from delegation.delegator import Delegator, decompose_task
from delegation.facts import facts_of
from delegation.models import TaskDelegation
from delegation.placing import reroute_task
from delegation.router import preview_route, preview_task
from hopper.actors import EVERYWHERE, Actor
from hopper.errors import Invalid, NotFound
from hopper.rest.described import OpenApiParameter, OpenApiTypes, extend_schema
from hopper.rest.input import flag
from instances.api.base import Answering
from instances.api.permissions import (
    is_workers_own,
    known_places,
    require_references,
    require_role,
    require_seen_instance,
    seen_task,
    token_in,
    visible_instances,
    worked_task,
)
from instances.api.shown import TASK_VERSION, shown_now, shown_task
from instances.api.task_serializers import NewTaskBody, TaskSerializer
from instances.choices import HopperScope
from instances.models import HopperInstance, Task
from instances.tasks.creating import NewTask
from instances.tree.status import no_instance
from instances.waiting import Reason, waiting_on
from scopes.api.serializers import DecisionSerializer, decisions_for
from scopes.decisions import TaskFacts


def offers_waiting_on(rows: Iterable[TaskDelegation]) -> dict[str, Reason]:
    """Return the reason of each pending delegation in `rows`: the reason of its task.

    The number of queries does not grow with the number of rows.
    """
    pending = {row.task_id: row.pk for row in rows if row.is_pending}
    if not pending:
        return {}
    reasons = waiting_on(Task.objects.filter(pk__in=pending))
    return {pending[task_id]: reason for task_id, reason in reasons.items()}


def shown(rows: Sequence[TaskDelegation], actor: Actor) -> list[Any]:
    """Return delegations as JSON, with a constant number of queries for the whole page.

    An end that the caller may not know is null, and its words are left out.
    """
    known = known_places(actor)
    context = {"waiting": offers_waiting_on(rows)}
    found = shapes.DelegationSerializer(rows, many=True, context=context).data
    return [_without_unknown(row, known) for row in found]


def _without_unknown(row: dict[str, Any], known: Collection[str] | None) -> dict[str, Any]:
    ends = ("source_instance_id", "target_instance_id")
    hidden = [name for name in ends if row[name] is not None and row[name] not in (known or ())]
    if known is None or not hidden:
        return row
    words = {"rejection_reason": "", "notes": "", "waiting_on": None}
    return {**row, **dict.fromkeys(hidden), **words}


def shown_one(delegation_id: str, actor: Actor) -> Any:
    """Return one delegation as JSON, as it is now."""
    return shown([TaskDelegation.objects.get(pk=delegation_id)], actor)[0]


def visible_delegations(actor: Actor, *, named: bool = False) -> QuerySet[TaskDelegation]:
    """Return the delegations from or to an instance that the caller may see."""
    if EVERYWHERE in actor.grants:
        return TaskDelegation.objects.all()
    places = visible_instances(actor).ids(named=named)
    return TaskDelegation.objects.filter(
        Q(source_instance__in=places) | Q(target_instance__in=places)
    )


class DelegationViewSet(Answering):
    """Delegations."""

    queryset = TaskDelegation.objects.all()
    serializer_class = shapes.DelegationSerializer
    filterset_class = DelegationFilter
    lookup_value_regex = r"[^/]+"

    def list(self, request: Request) -> Response:
        """List the delegations that the caller may see, the newest first."""
        rows = visible_delegations(self.actor, named=True).order_by("-pk")
        return self.paged(rows, lambda page: shown(page, self.actor))

    def retrieve(self, request: Request, pk: str) -> Response:
        """Show one delegation."""
        return Response(shown([self._seen(pk)], self.actor)[0])

    @extend_schema(request=shapes.Accept, responses=shapes.DelegationSerializer)
    @action(detail=True, methods=["post"])
    def accept(self, request: Request, pk: str) -> Response:
        """Accept an offer. The target becomes the holder (R8)."""
        row = self._seen(pk, "target")
        Delegator(self.actor).accept_delegation(row.pk, **self.body(shapes.Accept))
        return self.fresh(lambda: shown_one(pk, self.actor))

    @extend_schema(request=shapes.Reject, responses=shapes.DelegationSerializer)
    @action(detail=True, methods=["post"])
    def reject(self, request: Request, pk: str) -> Response:
        """Refuse an offer, with a reason (R7)."""
        row = self._seen(pk, "target")
        Delegator(self.actor).reject_delegation(row.pk, **self.body(shapes.Reject))
        return self.fresh(lambda: shown_one(pk, self.actor))

    @extend_schema(request=shapes.CompleteDelegation, responses=shapes.DelegationSerializer)
    @action(detail=True, methods=["post"])
    def complete(self, request: Request, pk: str) -> Response:
        """Complete the task. The delegation must be the last hop of its path (R7)."""
        row = self._seen(pk)
        data = self.body(shapes.CompleteDelegation)
        if not is_workers_own(row.task_id, data.get("token")):
            require_role(self.actor, "operator", [row.target_instance_id])
        Delegator(self.actor).complete_delegation(row.pk, **data)
        return self.fresh(lambda: shown_one(pk, self.actor))

    @extend_schema(request=shapes.Withdraw, responses=shapes.DelegationSerializer)
    @action(detail=True, methods=["post"])
    def cancel(self, request: Request, pk: str) -> Response:
        """Withdraw an offer."""
        row = self._seen(pk, "source")
        Delegator(self.actor).cancel_delegation(row.pk, **self.body(shapes.Withdraw))
        return self.fresh(lambda: shown_one(pk, self.actor))

    def _seen(self, pk: str, operated_end: str = "") -> TaskDelegation:
        """Return the row if the caller sees the row and is an operator at the given end."""
        row = visible_delegations(self.actor).filter(pk=pk).select_related("task").first()
        if row is None:
            raise NotFound(f"There is no delegation {pk}.")
        if operated_end == "target":
            require_role(self.actor, "operator", [row.target_instance_id])
        elif operated_end == "source":
            require_role(self.actor, "operator", [row.source_instance_id])
        return row


class TaskDelegationViewSet(Answering):
    """The actions of delegation on a task."""

    version = TASK_VERSION
    queryset = TaskDelegation.objects.all()
    serializer_class = shapes.DelegationSerializer
    pagination_class = None
    filter_backends = ()
    query_parameters = {"route": ("preview",)}

    @extend_schema(
        request=shapes.Delegate,
        responses={201: shapes.DelegationSerializer, 200: shapes.DelegationSerializer},
    )
    def delegate(self, request: Request, pk: str) -> Response:
        """Offer a task to an instance by name (R8). Returns 200 if the task is there already."""
        task = seen_task(self.actor, pk)
        data = self.body(shapes.Delegate)
        target_id = data.pop("target_instance_id")
        if not visible_instances(self.actor).filter(pk=target_id).exists():
            raise no_instance(target_id, field="target_instance_id")
        require_role(self.actor, "operator", [task.instance_id or target_id])
        if data.get("delegation_type") == DelegationType.REASSIGN:
            _require_reassigning(self.actor, pk)
        handed = Delegator(self.actor).delegate_task(pk, target_id, **data)
        code = status.HTTP_201_CREATED if handed.created else status.HTTP_200_OK
        return self.fresh(lambda: shown_one(handed.delegation.pk, self.actor), code)

    @extend_schema(responses=shapes.ChainSerializer)
    def delegations(self, request: Request, pk: str) -> Response:
        """Show all delegations of a task, in order."""
        task = seen_task(self.actor, pk)
        rows = shown(list(TaskDelegation.objects.for_task(pk)), self.actor)
        return Response(
            {
                "task_id": pk,
                "origin_instance_id": task.origin_id,
                "current_instance_id": task.instance_id,
                "total_delegations": len(rows),
                "delegations": rows,
            }
        )

    @extend_schema(
        request=None,
        parameters=[
            OpenApiParameter("preview", OpenApiTypes.BOOL, description="Only say; write nothing.")
        ],
        responses=shapes.RouteSerializer,
    )
    def route(self, request: Request, pk: str) -> Response:
        """Route a task again from its holder, or preview its route (R9)."""
        task = seen_task(self.actor, pk)
        self.body()
        if flag(request.query_params, "preview"):
            return Response(
                {
                    "task_id": pk,
                    "preview": True,
                    "instance_id": task.instance_id,
                    "decisions": decisions_for(self.actor, preview_route(pk)),
                }
            )
        seen_task(self.actor, pk, "operator")
        rerouted = reroute_task(pk, actor=self.actor)
        return self.fresh(lambda: _route_of(pk, rerouted.epoch))

    @extend_schema(
        request=shapes.Decompose,
        responses={201: TaskSerializer(many=True), 200: TaskSerializer(many=True)},
    )
    def decompose(self, request: Request, pk: str) -> Response:
        """Create all children of a task in one call (R13). Returns 200 if all keys are known."""
        task = worked_task(self.actor, pk, token_in(request))
        terms = self.body(shapes.Decompose)
        children, token = terms.pop("children"), terms.pop("token", None)
        terms.pop("worker", None)
        if token is None and task.has_live_lease:
            # Without the lease token: needs more than the role worker.
            require_role(self.actor, "operator", [task.instance_id])
        _require_seen(self.actor, task, children)
        made = decompose_task(
            pk, [NewTask(**one) for one in children], terms=terms, token=token, actor=self.actor
        )
        ids = [child.pk for child in made.children]
        code = status.HTTP_201_CREATED if made.new else status.HTTP_200_OK
        return self.fresh(lambda: shown_now(ids), code)

    @extend_schema(request=shapes.Escalate, responses=TaskSerializer)
    def escalate(self, request: Request, pk: str) -> Response:
        """Escalate a task with a question to the instance that it came from (R11)."""
        task = worked_task(self.actor, pk, token_in(self.request))
        data = self.body(shapes.Escalate)
        data.pop("worker", None)
        if data.get("token") is None and task.has_live_lease:
            # Without the lease token: needs more than the role worker.
            require_role(self.actor, "operator", [task.instance_id])
        Delegator(self.actor).escalate_task(pk, **data)
        return self.fresh(lambda: shown_task(pk))


def _require_reassigning(actor: Actor, task_id: str) -> None:
    """Raise NotAllowed unless the caller is an operator at the source of the last hop (R12)."""
    last = TaskDelegation.objects.chain(task_id).last()
    if last is not None:
        require_role(actor, "operator", [last.source_instance_id])


def _require_seen(actor: Actor, parent: Task, children: Sequence[Mapping[str, Any]]) -> None:
    """Raise Invalid for invisible targets and predecessors. Siblings are always visible.

    A child of an unassigned task may go to any instance. This needs the role operator there (R25).
    """
    known = parent.children.filter(key__isnull=False).values_list("key", flat=True)
    keys = {*known, *(child["key"] for child in children if child.get("key"))}
    require_references(actor, children, new=False, listed="children.", siblings=keys)
    if parent.instance_id is None:
        for target in sorted({one["instance_id"] for one in children if one.get("instance_id")}):
            require_role(actor, "operator", [target])


def _route_of(task_id: str, epoch: int) -> dict[str, Any]:
    """Return the decisions of an epoch, read after the commit."""
    task = shown_task(task_id)
    rows = DecisionSerializer.of_task(task_id, epoch)
    return {
        "task_id": task_id,
        "preview": False,
        "instance_id": task["instance_id"],
        "decisions": rows,
    }


class PreviewViewSet(Answering):
    """Previews the route of a task that does not exist yet."""

    queryset = TaskDelegation.objects.none()
    serializer_class = shapes.RouteSerializer
    pagination_class = None
    filter_backends = ()

    @extend_schema(request=NewTaskBody, responses={200: shapes.RouteSerializer})
    def create(self, request: Request) -> Response:
        """Show the route of such a task, with reasons. Writes nothing.

        The route begins at `instance_id`, else at the parent's holder, else at the oldest live
        GLOBAL.
        """
        data = self.body(NewTaskBody)
        require_references(self.actor, [data], new=False)
        start = self._start(data)
        facts = facts_of(Task(**{name: data[name] for name in _FACTS if name in data}))
        return Response(
            {
                "task_id": None,
                "preview": True,
                "instance_id": start.pk,
                "decisions": preview_task(facts, start),
            }
        )

    def _start(self, data: Mapping[str, Any]) -> HopperInstance:
        place = data.get("instance_id")
        if not place and data.get("parent_id"):
            place = Task.objects.get(pk=data["parent_id"]).instance_id
        seen = visible_instances(self.actor).live()
        found = seen.filter(pk=place) if place else seen.filter(scope=HopperScope.GLOBAL)
        start = found.order_by("created_at", "pk").first()
        if start is None:
            words = f"{place} is terminated" if place else "no live GLOBAL is visible: name one"
            raise Invalid.field("instance_id", words, "unknown")
        return start


_FACTS = tuple(field.name for field in fields(TaskFacts) if field.name != "id")


class InstanceDelegationViewSet(Answering):
    """The lists of delegations of an instance."""

    queryset = TaskDelegation.objects.all()
    serializer_class = shapes.DelegationSerializer
    filterset_class = InstanceDelegationFilter

    @extend_schema(responses=shapes.DelegationSerializer(many=True))
    def list(self, request: Request, pk: str) -> Response:
        """List the delegations to an instance, from the instance, or both."""
        require_seen_instance(self.actor, pk)
        incoming, outgoing = Q(target_instance=pk), Q(source_instance=pk)
        wanted = {"incoming": incoming, "outgoing": outgoing}.get(
            request.query_params.get("direction", ""), incoming | outgoing
        )
        rows = TaskDelegation.objects.filter(wanted).order_by("-pk")
        return self.paged(rows, lambda page: shown(page, self.actor))
