"""What an action would change, as JSON: each row that differs, counted, as far as it is seen."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

from rest_framework import serializers

from hopper.rest.fields import Object
from instances.api.instance_serializers import SummarySerializer
from instances.api.permissions import visible_instances, visible_tasks
from instances.lifecycle.preview import KINDS, counted

if TYPE_CHECKING:
    from hopper.actors import Actor
    from instances.lifecycle.preview import Change, Preview

_Tally = serializers.DictField(child=serializers.IntegerField())


class _ChangeSerializer(serializers.Serializer[Any]):
    """One row that would differ: in words, and the fields that differ, before and after."""

    what = serializers.ListField(child=serializers.CharField())
    before = Object()
    after = Object()


class InstanceChangeSerializer(_ChangeSerializer):
    """An instance that would have another status, its own or the one in effect (R4)."""

    id = serializers.CharField()
    name = serializers.CharField()


class TaskChangeSerializer(_ChangeSerializer):
    """A task that would end, move, lose its lease or its offer, or wait for something else."""

    id = serializers.CharField()
    title = serializers.CharField()


class DelegationChangeSerializer(_ChangeSerializer):
    """A delegation that would end, with its reason."""

    id = serializers.CharField()
    task_id = serializers.CharField()
    source_instance_id = serializers.CharField(allow_null=True)
    target_instance_id = serializers.CharField()
    delegation_type = serializers.CharField()


class AttemptChangeSerializer(_ChangeSerializer):
    """An attempt that would end with its lease, with its outcome."""

    task_id = serializers.CharField()
    number = serializers.IntegerField()
    worker = serializers.CharField(allow_blank=True)


class PreviewCountsSerializer(serializers.Serializer[Any]):
    """How often each word is said, by kind; `waiting_on`: what tasks would newly wait for (R26)."""

    instances = _Tally
    tasks = _Tally
    delegations = _Tally
    attempts = _Tally
    waiting_on = _Tally


class _PreviewSerializer(serializers.Serializer[Any]):
    """Every row that would differ; `hidden` counts those that the caller may not see."""

    counts = PreviewCountsSerializer()
    instances = InstanceChangeSerializer(many=True)
    tasks = TaskChangeSerializer(many=True)
    delegations = DelegationChangeSerializer(many=True)
    attempts = AttemptChangeSerializer(many=True)
    hidden = serializers.IntegerField()


class TaskPreviewSerializer(_PreviewSerializer):
    """What cancelling a task would do."""

    task_id = serializers.CharField()


class RefusalSerializer(serializers.Serializer[Any]):
    """Why the action would change nothing."""

    code = serializers.CharField()
    detail = serializers.CharField()


class PreviewSerializer(_PreviewSerializer):
    """What stopping, terminating or closing an instance would do, beside what lies below it now.

    `refused` is set where it would be answered with 409 instead; `summary` is that of a run.
    """

    instance_id = serializers.CharField()
    live_children = serializers.IntegerField()
    unfinished_tasks = serializers.IntegerField()
    live_leases = serializers.IntegerField()
    refused = RefusalSerializer(allow_null=True)
    summary = SummarySerializer(allow_null=True)


def shown_instance_preview(preview: Preview, actor: Actor) -> dict[str, Any]:
    """Return a preview of what would become of an instance as JSON."""
    refused = preview.refused
    return {
        **preview.figures,
        "refused": {"code": refused.code, "detail": refused.detail} if refused else None,
        "summary": preview.summary,
        **_shown_changes(preview, actor),
    }


def shown_task_preview(task_id: str, preview: Preview, actor: Actor) -> dict[str, Any]:
    """Return a preview of what would become of a task as JSON."""
    return {"task_id": task_id, **_shown_changes(preview, actor)}


def _shown_changes(preview: Preview, actor: Actor) -> dict[str, Any]:
    seen = {kind: _seen(kind, preview.changes[kind], actor) for kind in KINDS}
    total = sum(map(len, preview.changes.values()))
    counts: dict[str, Any] = {kind: counted(seen[kind]) for kind in KINDS}
    reasons = [change.after.get("waiting_on") for change in seen["tasks"]]
    counts["waiting_on"] = dict(sorted(Counter(filter(None, reasons)).items()))
    shown = {kind: [_shown(change) for change in seen[kind]] for kind in KINDS}
    return {"counts": counts, **shown, "hidden": total - sum(map(len, seen.values()))}


def _seen(kind: str, changes: list[Change], actor: Actor) -> list[Change]:
    """Return the changes of rows that the caller may see: a delegation's by its task."""
    name = "id" if kind in ("instances", "tasks") else "task_id"
    rows: Any = visible_instances(actor) if kind == "instances" else visible_tasks(actor)
    ids = {change.about[name] for change in changes}
    visible = set(rows.filter(pk__in=ids).values_list("pk", flat=True))
    return [change for change in changes if change.about[name] in visible]


def _shown(change: Change) -> dict[str, Any]:
    return {
        **change.about,
        "what": list(change.what),
        "before": dict(change.before),
        "after": dict(change.after),
    }
