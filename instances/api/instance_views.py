"""/instances: the tree, its lifecycle, its queues."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from functools import lru_cache, partial
from typing import Any

from django.http.response import HttpResponseBase
from rest_framework import status
from rest_framework.decorators import action
from rest_framework.renderers import JSONRenderer
from rest_framework.request import Request
from rest_framework.response import Response

from hopper.errors import HopperError
from hopper.rest.described import (
    OpenApiParameter,
    OpenApiTypes,
    PolymorphicProxySerializer,
    extend_schema,
    extend_schema_view,
)
from hopper.rest.etags import versioned
from hopper.rest.fields import NoFields
from hopper.rest.idempotency import HEADER
from hopper.rest.input import flag, integer
from hopper.rest.pagination import FeedPage
from hopper.serving.long_poll import long_poll
from instances.allowances import MAX_DEPTH
from instances.api.base import Answering
from instances.api.batch_serializers import ClaimAfter, NextSerializer
from instances.api.filters import HistoryFilter, InstanceFilter, TaskFilter
from instances.api.instance_serializers import (
    ClaimNext,
    Close,
    InstanceChanges,
    InstanceSerializer,
    MetricsSerializer,
    NewInstance,
    Restart,
    Stop,
    SummarySerializer,
    TreeSerializer,
    Trouble,
)
from instances.api.permissions import (
    refused_reports,
    require_changes,
    require_creation,
    require_seen_instance,
    seen_instance,
    visible_instances,
    visible_tasks,
)
from instances.api.preview_serializers import PreviewSerializer, shown_instance_preview
from instances.api.shown import (
    INSTANCE_VERSION,
    reports_of,
    shown_claim,
    shown_instance,
    shown_instances,
    shown_tasks,
    shown_verdict,
)
from instances.api.task_serializers import ClaimSerializer, EventSerializer, TaskSerializer
from instances.history import history_state
from instances.lifecycle import actions as lifecycle
from instances.lifecycle.actions import update_instance
from instances.lifecycle.closing import close_instance
from instances.lifecycle.preview import preview_close, preview_stop, preview_terminate
from instances.models import Event, HopperInstance, Task
from instances.tasks.batches import complete_and_claim
from instances.tasks.leases import rescue_leases
from instances.tasks.wakeups import WAKEUPS
from instances.tasks.worker import claim_next, release_task
from instances.tree.reads import build_tree, metrics
from instances.tree.shape import create_instance

MAX_WAIT = 60
"""The longest wait of a claim, in seconds."""

LEFT = "the client left before the answer"

_BOOL = OpenApiTypes.BOOL
_ID = r"[^/]+"


class NothingYet(HopperError):
    """A claim that may wait found no task. The answer says why."""

    def __init__(self, answer: dict[str, Any]) -> None:
        super().__init__()
        self.answer = answer


@extend_schema_view(
    list=extend_schema(responses=InstanceSerializer(many=True)),
    retrieve=extend_schema(responses=InstanceSerializer),
)
class InstanceViewSet(Answering):
    """Instances."""

    queryset = HopperInstance.objects.none()
    serializer_class = InstanceSerializer
    version = INSTANCE_VERSION
    filterset_class = InstanceFilter
    lookup_value_regex = _ID
    query_parameters = {
        "destroy": ("cascade", "preview"),
        "hierarchy": ("depth", "include_terminated"),
        "tasks": ("subtree",),
        "claim": ("wait",),
    }
    listed = ("list", "children", "tasks", "events")

    def list(self, request: Request) -> Response:
        """List the instances that the caller may see."""
        return self.paged(visible_instances(self.actor), shown_instances)

    @extend_schema(request=NewInstance, responses={201: InstanceSerializer})
    def create(self, request: Request) -> Response:
        """Create an instance, in status created (R1)."""
        data = self.body(NewInstance)
        require_creation(self.actor, data["scope"], data.get("parent_id"))
        made = create_instance(data.pop("name"), **data, actor=self.actor)
        return self.fresh(lambda: shown_instance(made.pk), status.HTTP_201_CREATED)

    def retrieve(self, request: Request, pk: str) -> Response:
        """Show one instance."""
        require_seen_instance(self.actor, pk)
        return Response(shown_instance(pk))

    @extend_schema(request=InstanceChanges, responses=InstanceSerializer)
    def update(self, request: Request, pk: str) -> Response:
        """Edit an instance. Omitted fields stay."""
        instance = seen_instance(self.actor, pk)
        changes = self.body(InstanceChanges, instance=instance)
        require_changes(self.actor, instance, changes)
        update_instance(pk, changes=changes, actor=self.actor)
        return Response(shown_instance(pk))

    @extend_schema(request=InstanceChanges, responses=InstanceSerializer)
    def partial_update(self, request: Request, pk: str) -> Response:
        """Edit an instance; the same as PUT."""
        return self.update(request, pk)

    @extend_schema(
        parameters=[
            OpenApiParameter(
                "cascade", _BOOL, description="End all below it too; no unfinished task is lost."
            ),
            OpenApiParameter("preview", _BOOL, description="Only say what it would do (200)."),
        ],
        responses={204: None, 200: PreviewSerializer},
    )
    def destroy(self, request: Request, pk: str) -> Response:
        """Terminate an instance. The instance stays readable (R5)."""
        require_seen_instance(self.actor, pk, "admin")
        cascade, preview = (flag(request.query_params, name) for name in ("cascade", "preview"))
        if preview:
            shown = preview_terminate(pk, cascade=cascade, actor=self.actor)
            return Response(shown_instance_preview(shown, self.actor))
        lifecycle.terminate_instance(pk, cascade=cascade, actor=self.actor)
        return Response(status=status.HTTP_204_NO_CONTENT)

    @extend_schema(responses=InstanceSerializer(many=True))
    @action(detail=True)
    def children(self, request: Request, pk: str) -> Response:
        """List the children of an instance."""
        require_seen_instance(self.actor, pk)
        return self.paged(HopperInstance.objects.filter(parent=pk), shown_instances)

    @extend_schema(
        parameters=[
            OpenApiParameter(
                "depth",
                {"type": "integer", "minimum": 0, "maximum": MAX_DEPTH},
                description="Levels below to show.",
            ),
            OpenApiParameter("include_terminated", _BOOL),
        ],
        responses=TreeSerializer,
    )
    @action(detail=True)
    def hierarchy(self, request: Request, pk: str) -> HttpResponseBase:
        """Show an instance with everything below it, and both counts.

        The answer has a strong `ETag`; with `If-None-Match` an unchanged one is 304.
        """
        require_seen_instance(self.actor, pk)
        query = request.query_params
        depth = (
            integer(query, "depth", least=0, most=MAX_DEPTH, default=0)
            if "depth" in query
            else None
        )
        shown = flag(query, "include_terminated")
        return versioned(request, _tree_text(history_state(), pk, depth, include_terminated=shown))

    @extend_schema(responses=InstanceSerializer(many=True), filters=False)
    @action(detail=True, pagination_class=None)
    def ancestors(self, request: Request, pk: str) -> Response:
        """List the ancestors, root first, as far as the caller may see them."""
        instance = seen_instance(self.actor, pk)
        seen = visible_instances(self.actor)
        ids = [ancestor.id for ancestor in instance.lineage()[:-1]]
        rows = seen.in_bulk(ids)
        return Response(shown_instances([rows[one] for one in ids if one in rows]))

    @extend_schema(
        parameters=[OpenApiParameter("subtree", _BOOL, description="All below it as well.")],
        responses=TaskSerializer(many=True),
    )
    @action(detail=True, queryset=Task.objects.none(), filterset_class=TaskFilter)
    def tasks(self, request: Request, pk: str) -> Response:
        """List the tasks that an instance holds."""
        require_seen_instance(self.actor, pk)
        rows = visible_tasks(self.actor)
        if flag(request.query_params, "subtree"):
            return self.paged(rows.in_subtree(pk, named=True), shown_tasks)
        return self.paged(rows.filter(instance=pk), shown_tasks)

    @extend_schema(responses=EventSerializer(many=True))
    @action(
        detail=True,
        queryset=Event.objects.none(),
        filterset_class=HistoryFilter,
        pagination_class=FeedPage,
    )
    def events(self, request: Request, pk: str) -> Response:
        """List the feed of an instance, oldest first."""
        require_seen_instance(self.actor, pk)
        return self.paged_events(Event.objects.of_instance(pk))

    @extend_schema(responses=MetricsSerializer, filters=False)
    @action(detail=True)
    def metrics(self, request: Request, pk: str) -> Response:
        """Show the load and the speed of an instance."""
        return Response(metrics(seen_instance(self.actor, pk)))

    def before_key(self, **kwargs: Any) -> None:
        """Rescue expired leases before a claim; a key's transaction must not do so (R21)."""
        if self.action in ("claim", "complete_and_claim"):
            rescue_leases(kwargs["pk"], in_need=True)

    @extend_schema(
        request=ClaimNext,
        parameters=[
            OpenApiParameter(
                "wait",
                {"type": "integer", "minimum": 0, "maximum": MAX_WAIT, "default": 0},
                description="The seconds to wait for a task.",
            )
        ],
        responses=ClaimSerializer,
    )
    @action(detail=True, methods=["post"])
    def claim(self, request: Request, pk: str) -> Response:
        """Lease the next ready tasks to a worker (R21, R22).

        With `wait` the answer comes as soon as there is a task, else after that time.
        """
        require_seen_instance(self.actor, pk, "worker")
        claim = claim_next(pk, **self.body(ClaimNext), actor=self.actor)
        answer = shown_claim(claim)
        if not claim.leases and request.query_params.get("wait", "0") != "0":
            raise NothingYet(answer)
        return Response(answer)

    def _carry_out(
        self, handler: Callable[..., Any], request: Request, *args: Any, **kwargs: Any
    ) -> Any:
        """Wait for a claim outside of the transaction of its key, which keeps no empty answer."""
        carry_out = partial(super()._carry_out, handler, request, *args, **kwargs)
        if self.action != "claim":
            return carry_out()

        def look() -> tuple[Response, bool]:
            try:
                return carry_out(), False
            except NothingYet as nothing:
                return Response(nothing.answer), True

        def take_back(answer: dict[str, Any]) -> None:
            for task in answer["tasks"]:
                token = task["lease"]["token"]
                with suppress(HopperError):
                    release_task(task["id"], token=token, reason=LEFT, actor=self.actor)

        # A repeat with the same key gets the same lease.
        keeps = HEADER in request.headers
        return long_poll(
            self,
            look,
            most=MAX_WAIT,
            wakeups=WAKEUPS.at(kwargs["pk"]),
            take_back=None if keeps else take_back,
        )

    @extend_schema(request=ClaimAfter, responses=NextSerializer)
    @action(detail=True, methods=["post"], url_path="next", url_name="next")
    def complete_and_claim(self, request: Request, pk: str) -> Response:
        """Finish tasks, then lease the next ones (R17, R22)."""
        require_seen_instance(self.actor, pk, "worker")
        wish = self.body(ClaimAfter)
        reports = reports_of(wish.pop("completed", ()))
        refused = refused_reports(self.actor, reports)
        verdicts, claim = complete_and_claim(reports, pk, refused=refused, **wish, actor=self.actor)
        completed = [shown_verdict(one) for one in verdicts]
        return Response({**shown_claim(claim), "completed": completed})

    @extend_schema(request=NoFields, responses=InstanceSerializer)
    @action(detail=True, methods=["post"])
    def start(self, request: Request, pk: str) -> Response:
        """Start an instance."""
        return self._act(lifecycle.start_instance, pk)

    @extend_schema(
        request=Stop,
        responses=PolymorphicProxySerializer(
            "StoppedOrPreview", [InstanceSerializer, PreviewSerializer], None
        ),
    )
    @action(detail=True, methods=["post"])
    def stop(self, request: Request, pk: str) -> Response:
        """Stop an instance (R5). `preview` describes the changes and writes nothing."""
        return self._act(lifecycle.stop_instance, pk, Stop, preview_stop)

    @extend_schema(request=Restart, responses=InstanceSerializer)
    @action(detail=True, methods=["post"])
    def restart(self, request: Request, pk: str) -> Response:
        """Stop and start an instance. An instance that can start directly is only started (R2)."""
        return self._act(lifecycle.restart_instance, pk, Restart)

    @extend_schema(request=NoFields, responses=InstanceSerializer)
    @action(detail=True, methods=["post"])
    def pause(self, request: Request, pk: str) -> Response:
        """Pause an instance."""
        return self._act(lifecycle.pause_instance, pk)

    @extend_schema(request=NoFields, responses=InstanceSerializer)
    @action(detail=True, methods=["post"])
    def resume(self, request: Request, pk: str) -> Response:
        """Resume a paused instance."""
        return self._act(lifecycle.resume_instance, pk)

    @extend_schema(request=Trouble, responses=InstanceSerializer)
    @action(detail=True, methods=["post"])
    def fail(self, request: Request, pk: str) -> Response:
        """Declare an instance in error."""
        return self._act(lifecycle.fail_instance, pk, Trouble)

    @extend_schema(request=NoFields, responses=InstanceSerializer)
    @action(detail=True, methods=["post"])
    def recover(self, request: Request, pk: str) -> Response:
        """Recover an instance from its error."""
        return self._act(lifecycle.recover_instance, pk)

    @extend_schema(
        request=Close,
        responses=PolymorphicProxySerializer(
            "SummaryOrPreview", [SummarySerializer, PreviewSerializer], None
        ),
    )
    @action(detail=True, methods=["post"])
    def close(self, request: Request, pk: str) -> Response:
        """Close an ephemeral run and return its summary, also for a closed run (R5)."""
        require_seen_instance(self.actor, pk, "operator")
        options = self.body(Close)
        if options.pop("preview", False):
            shown = preview_close(pk, **options, actor=self.actor)
            return Response(shown_instance_preview(shown, self.actor))
        return Response(close_instance(pk, **options, actor=self.actor))

    def _act(self, act: Any, pk: str, serializer: Any = NoFields, preview: Any = None) -> Response:
        require_seen_instance(self.actor, pk, "operator")
        options = self.body(serializer)
        if options.pop("preview", False):
            shown = preview(pk, **options, actor=self.actor)
            return Response(shown_instance_preview(shown, self.actor))
        act(pk, **options, actor=self.actor)
        return self.fresh(lambda: shown_instance(pk))


@lru_cache(maxsize=4)
def _tree_text(
    state: tuple[int, ...], instance_id: str, depth: int | None, *, include_terminated: bool
) -> bytes:
    """Return a tree as JSON. For 10,000 instances it has 5 MB and is built in about a second."""
    tree = build_tree(instance_id, depth=depth, include_terminated=include_terminated)
    text: bytes = JSONRenderer().render(tree)
    return text
