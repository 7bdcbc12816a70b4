"""Previews as JSON: the visible rows that an action would change, and counts."""

from __future__ import annotations

from collections import Counter
from typing import Any

from rest_framework import serializers

from hopper.actors import Actor
from hopper.rest.fields import Object
from instances.api.instance_serializers import SummarySerializer
from instances.api.permissions import visible_instances, visible_tasks
from instances.lifecycle.preview import KINDS, Change, Preview, counted

_Tally = serializers.DictField(child=serializers.IntegerField())


class _ChangeSerializer(serializers.Serializer[Any]):
    """One row that would change: in words, and its changed fields before and after."""

    what = serializers.ListField(child=serializers.CharField())
    before = Object()
    after = Object()


class InstanceChangeSerializer(_ChangeSerializer):
    """An instance that would get another status or another effective status (R4)."""

    id = serializers.CharField()
    name = serializers.CharField()


class TaskChangeSerializer(_ChangeSerializer):
    """A task that would end, move, lose its lease or its offer, or get another reason."""

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
    """The number of each outcome, by kind of row. `waiting_on` counts new reasons (R26)."""

    instances = _Tally
    tasks = _Tally
    delegations = _Tally
    attempts = _Tally
    waiting_on = _Tally


class _PreviewSerializer(serializers.Serializer[Any]):
    """All rows that would change. `hidden` counts the rows that the caller may not see."""

    counts = PreviewCountsSerializer()
    instances = InstanceChangeSerializer(many=True)
    tasks = TaskChangeSerializer(many=True)
    delegations = DelegationChangeSerializer(many=True)
    attempts = AttemptChangeSerializer(many=True)
    hidden = serializers.IntegerField()


class TaskPreviewSerializer(_PreviewSerializer):
    """The changes that cancelling a task would make."""

    task_id = serializers.CharField()


class RefusalSerializer(serializers.Serializer[Any]):
    """Why the action would change nothing."""

    code = serializers.CharField()
    detail = serializers.CharField()


class PreviewSerializer(_PreviewSerializer):
    """The changes that stopping, terminating or closing an instance would make.

    The figures count live instances, unfinished tasks and live leases below the instance now.
    `refused` is set if the action would be answered with 409. `summary` is the summary of a run.
    """

    instance_id = serializers.CharField()
    live_children = serializers.IntegerField()
    unfinished_tasks = serializers.IntegerField()
    live_leases = serializers.IntegerField()
    refused = RefusalSerializer(allow_null=True)
    summary = SummarySerializer(allow_null=True)


def shown_instance_preview(preview: Preview, actor: Actor) -> dict[str, Any]:
    """Return the preview of an action on an instance as JSON."""
    refused = preview.refused
    return {
        **preview.figures,
        "refused": {"code": refused.code, "detail": refused.detail} if refused else None,
        "summary": preview.summary,
        **_shown_changes(preview, actor),
    }


def shown_task_preview(task_id: str, preview: Preview, actor: Actor) -> dict[str, Any]:
    """Return the preview of an action on a task as JSON."""
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
    """Return the changes of visible rows. A delegation is visible if its task is."""
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
