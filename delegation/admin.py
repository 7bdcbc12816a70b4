"""The pages of delegations, and the path and rerouting on the page of a task."""

from __future__ import annotations

from django import forms
from django.contrib import admin
from django.db.models import QuerySet

from delegation.choices import DelegationStatus, DelegationType
from delegation.delegator import Delegator
from delegation.models import TaskDelegation
from delegation.placing import reroute_task
from instances.admin.base import (
    LongListAdmin,
    Table,
    action,
    column,
    compact,
    link,
    moment,
    pill,
)
from instances.admin.tasks import ROWS_SHOWN, TaskAdmin
from instances.models import Task
from scopes.models import RoutingDecision

_Rows = QuerySet[TaskDelegation]


class RejectForm(forms.Form):
    """The form that asks why an offer is refused."""

    reason = forms.CharField(
        max_length=500, help_text="Kept with the delegation; the task is placed elsewhere."
    )


@admin.register(TaskDelegation)
class DelegationAdmin(LongListAdmin):
    """Delegations. Actions answer or withdraw pending ones."""

    list_display = (
        column("task", "task", lambda task: task.title),
        column("delegated_at", "offered (UTC)", moment), column("source_instance_id", "from"),
        column("target_instance_id", "to"), "hop", column("delegation_type", "type"),
        column("status", "status", pill), "reason", column("delegated_by", "by"), "answered_by",
    )  # fmt: skip
    list_select_related = ("task",)
    list_filter = ("status", "delegation_type")
    search_fields = ("=id", "=task__id", "=source_instance__id", "=target_instance__id")
    search_help_text = "The whole id of a delegation, a task or an instance."
    ordering = ("-id",)
    list_per_page = 50
    actions = (
        action("accept", "Accept", lambda pk, actor: Delegator(actor).accept_delegation(pk)),
        action(
            "reject",
            "Reject ...",
            lambda pk, actor, reason: Delegator(actor).reject_delegation(pk, reason=reason),
            title="Reject offers",
            form=RejectForm,
        ),
        action("cancel", "Take back", lambda pk, actor: Delegator(actor).cancel_delegation(pk)),
    )


admin.site.unregister(Task)


@admin.register(Task)
class PlacedTaskAdmin(TaskAdmin):
    """Tasks with their delegations and decisions."""

    actions = (*TaskAdmin.actions, action("reroute", "Route again", reroute_task))

    def tables(self, record: Task) -> list[Table]:
        """Return delegations and decisions, then the tables of `instances`."""
        return [_way(record), _decisions(record), *super().tables(record)]


def _way(task: Task) -> Table:
    """Return the task's delegations in order, with its path in the note."""
    made = list(TaskDelegation.objects.for_task(task.pk)[:ROWS_SHOWN])
    rows = [
        (
            d.hop,
            link("hopperinstance", d.source_instance_id),
            link("hopperinstance", d.target_instance_id),
            d.delegation_type,
            pill(d.status),
            moment(d.delegated_at),
            moment(d.accepted_at),
            moment(d.completed_at),
            d.delegated_by,
            d.rejection_reason or d.reason or d.notes,
        )
        for d in made
    ]
    columns = (
        "Hop", "From", "To", "Type", "Status", "Offered (UTC)", "Accepted", "Ended", "By", "Reason",
    )  # fmt: skip
    return Table(f"Way: {' > '.join(_path(task, made))}", columns, rows)


def _path(task: Task, made: list[TaskDelegation]) -> list[str]:
    """Return the instances of the task's active path, or of the path on which it ended (R6)."""
    hops = [
        d
        for d in made
        if d.delegation_type != DelegationType.ESCALATE
        and (
            d.status == DelegationStatus.ACCEPTED
            or (d.completed_at and d.accepted_at and d.completed_at == task.finished_at)
        )
    ]
    hops.sort(key=lambda d: (d.hop, d.pk))
    if not hops:
        return [task.instance_id or "unassigned"]
    return [hops[0].source_instance_id or "unassigned", *(d.target_instance_id for d in hops)]


def _decisions(task: Task) -> Table:
    decisions = RoutingDecision.objects.for_task(task.pk)
    rows = [
        (
            moment(d.created_at),
            link("hopperinstance", d.instance_id),
            d.verdict,
            link("hopperinstance", d.target_id),
            d.code,
            f"{d.confidence:.2f}",
            compact(d.reasons),
        )
        for d in decisions[:ROWS_SHOWN]
    ]
    columns = ("At (UTC)", "Decided at", "Verdict", "Target", "Code", "Confidence", "Reasons")
    return Table("Decisions", columns, rows)
