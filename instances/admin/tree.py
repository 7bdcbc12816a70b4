"""The page of the tree: indented instances, with lifecycle actions and moves."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from django import forms
from django.contrib import admin, messages
from django.contrib.admin.utils import flatten
from django.contrib.admin.views.main import ChangeList
from django.db.models import Q, QuerySet
from django.http import HttpRequest, HttpResponse
from django.urls import reverse
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString
from mptt.admin import DraggableMPTTAdmin

from hopper.config.registry import traced_settings
from hopper.errors import HopperError
from hopper.ids import is_slug
from hopper.protocol import ACTIONS
from instances.admin.base import (
    NOTHING,
    Act,
    Table,
    action,
    actor_of,
    compact,
    cut,
    link,
    moment,
    pill,
)
from instances.admin.forms import ConfigField, ServedAdmin, ServiceForm
from instances.allowances import Standing
from instances.choices import InstanceStatus
from instances.lifecycle import actions as lifecycle
from instances.lifecycle.actions import update_instance
from instances.models import Event, HopperInstance, Task, lineages
from instances.tree.reads import as_counts, metrics, task_counts
from instances.tree.shape import create_instance, move_instance
from instances.tree.status import present_instance

_Rows = QuerySet[HopperInstance]

EVENTS_SHOWN = 50
ROWS_SHOWN = 50
TREE_SHOWN = 2000
"""The most live instances that the page of the tree shows at once."""
LIFE = (
    ("own_status", "in_effect_now"), ("created_at", "created_by", "updated_at"),
    ("started_at", "stopped_at"), "runtime_metadata",
)  # fmt: skip
BY_NAME = ("start", "stop", "restart", "pause", "resume", "recover")
_POSITIONS = ("last-child", "left", "right")


@dataclass
class Tally:
    """Derived values of one instance: effective status; open and all tasks, here and below."""

    effective: str
    open: int = 0
    total: int = 0
    open_below: int = 0
    total_below: int = 0
    is_folded: bool = False
    """Whether the list leaves out instances below."""


def tallies_of(instances: Iterable[HopperInstance]) -> dict[str, Tally]:
    """Return the effective status and the task counts of each instance, in two queries."""
    counts = {pk: as_counts(by_status) for pk, by_status in task_counts().items()}
    lines = lineages({one.pk for one in instances} | set(counts))
    tallies = {pk: Tally(Standing.along(line).effective) for pk, line in lines.items()}
    for pk, count in counts.items():
        tallies[pk].total, tallies[pk].open = count["total"], count["open"]
        for member in lines[pk]:
            if member.id in tallies:
                tallies[member.id].total_below += count["total"]
                tallies[member.id].open_below += count["open"]
    return tallies


class TreeChangeList(ChangeList):
    """The list of instances, each with its tally."""

    def get_results(self, request: HttpRequest) -> None:
        """Read the page, then the tallies of all its rows at once."""
        super().get_results(request)
        instances = list(self.result_list)
        tallies = tallies_of(instances)
        shown = {one.pk for one in instances}
        folded = HopperInstance.objects.live().filter(parent__in=shown).exclude(pk__in=shown)
        deeper = set(folded.values_list("parent_id", flat=True)) if self._is_part() else set()
        for instance in instances:
            instance.tally = tallies[instance.pk]
            instance.tally.is_folded = instance.pk in deeper
        self.result_list = instances

    def _is_part(self) -> bool:
        """Return whether the list is a part of a large tree."""
        return BelowFilter.parameter_name in self.params or (
            not self.query and HopperInstance.objects.live().count() > TREE_SHOWN
        )


class LivenessFilter(admin.SimpleListFilter):
    """Hides terminated instances unless the filter asks for them."""

    title = "life"
    parameter_name = "life"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        """Return the choices besides the default."""
        return [("terminated", "Terminated"), ("all", "All")]

    def choices(self, changelist: Any) -> Any:
        """Label the default choice with the rows that it shows."""
        first, *others = super().choices(changelist)
        return [{**first, "display": "Live"}, *others]

    def queryset(self, request: HttpRequest, queryset: _Rows) -> _Rows:
        """Keep the rows of the chosen kind."""
        if self.value() == "all":
            return queryset
        ended = Q(status=InstanceStatus.TERMINATED)
        return queryset.filter(ended if self.value() == "terminated" else ~ended)


class BelowFilter(admin.SimpleListFilter):
    """Shows one part of a large tree: an instance, the instances above it, and its children.

    Without a choice, a tree of more than TREE_SHOWN live instances shows its two highest levels.
    """

    title = "part of the tree"
    parameter_name = "below"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        """Return the chosen part, by which the person goes back to the whole."""
        chosen = request.GET.get(self.parameter_name)
        return [(chosen, f"Below {chosen}")] if chosen else [("", "")]

    def choices(self, changelist: Any) -> Any:
        """Label the default choice."""
        first, *others = super().choices(changelist)
        return [{**first, "display": "From the top"}, *(others if self.value() else ())]

    def queryset(self, request: HttpRequest, queryset: _Rows) -> _Rows:
        """Keep the rows of the part. A search looks through the whole tree."""
        if place := self.value():
            line = [one.id for one in lineages([place]).get(place, ())]
            return queryset.filter(Q(pk__in=line) | Q(parent=place))
        if request.GET.get("q") or HopperInstance.objects.live().count() <= TREE_SHOWN:
            return queryset
        return queryset.filter(level__lte=1)


class InstanceForm(ServiceForm):
    """Creates an instance, or changes its name, parent, description, configuration, end."""

    id = forms.CharField(
        required=False,
        max_length=100,
        help_text="Lower-case letters, digits, '.', '_', '-'. Left empty: made from the name.",
    )
    config = ConfigField(required=False, initial=dict, widget=forms.Textarea(attrs={"rows": 6}))
    names = {"parent": "parent_id"}

    def write(self, values: dict[str, Any]) -> HopperInstance:
        """Create or update."""
        if "parent_id" in values:
            parent = values["parent_id"]
            values["parent_id"] = parent.pk if parent else None
        if self.instance._state.adding:
            name = values.pop("name")
            return create_instance(name, **{**values, "id": values["id"] or None}, actor=self.actor)
        return update_instance(self.instance.pk, changes=values, actor=self.actor)


def _by_name(name: str) -> Act:
    """Return the admin action that calls the lifecycle service of that name (R2)."""
    meaning = ACTIONS[name].words if name in ACTIONS else "stop and start instances"
    return action(name, f"{name.capitalize()}: {meaning}", getattr(lifecycle, f"{name}_instance"))


class TerminateForm(forms.Form):
    """The form of a termination: with or without everything below."""

    cascade = forms.BooleanField(
        required=False,
        label="With everything below",
        help_text="Terminates all instances below too and moves unfinished tasks up. Without it, "
        "an instance with live children or unfinished tasks is left as it is. Final either way.",
    )


@admin.register(HopperInstance)
class InstanceAdmin(ServedAdmin, DraggableMPTTAdmin):
    """The tree. Dragging moves an instance; actions start, stop and terminate."""

    form = InstanceForm
    list_display = (
        "tree_actions", "indented_title", "own_status", "in_effect", "scope", "tasks_here",
        "tasks_below", "instance_type",
    )  # fmt: skip
    list_display_links = ("indented_title",)
    list_filter = (LivenessFilter, BelowFilter, "scope", "status", "instance_type")
    search_fields = ("id", "name_key")
    sortable_by = ()
    autocomplete_fields = ("parent",)
    expand_tree_by_default = True
    actions = (
        *map(_by_name, BY_NAME),
        action(
            "terminate",
            "Terminate ...",
            lifecycle.terminate_instance,
            title="Terminate",
            form=TerminateForm,
        ),
    )
    readonly_fields = flatten(LIFE)
    may_add = True

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[ChangeList]:
        """Return the list class that reads the derived values."""
        return TreeChangeList

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> tuple[str, ...]:
        """Return the read-only fields. The scope and the id of an instance never change."""
        fixed = ("id", "scope", "instance_type") if obj else ()
        return (*fixed, *self.readonly_fields)

    def get_fieldsets(self, request: HttpRequest, obj: Any = None) -> Any:
        """Return the tables below the record; none for a new instance, which has no history."""
        identity = (None, {"fields": ("name", "id", "scope", "parent", "instance_type")})
        details = ("Details", {"fields": ("config", "description", "expires_at")})
        if obj is None:
            return (identity, details)
        return (identity, ("Life", {"fields": LIFE}), details)

    def buttons(self, record: HopperInstance) -> list[tuple[str, str]]:
        """Return the way to the instance's own page, and the verbs that its state allows."""
        address, ended = f"/instances/{record.pk}", record.status == InstanceStatus.TERMINATED
        verbs = [
            name
            for name, action in ACTIONS.items()
            if record.status in action.sources and record.status not in action.steps
        ]
        verbs = [verb for verb in verbs if verb != "fail"] + ([] if ended else ["terminate"])
        buttons = [(f"{address}/{verb}", f"{verb.capitalize()} ...") for verb in verbs]
        return [*buttons, (address, "Page")]

    def tables(self, record: HopperInstance) -> list[Table]:
        """Return the load, the children, the newest tasks, the settings and the latest events."""
        return [_load(record), *_below(record), _settings(record), self._events(record)]

    def _events(self, record: HopperInstance) -> Table:
        newest = Event.objects.of_instance(record.pk).order_by("-pk")[: EVENTS_SHOWN + 1]
        events, note = cut(newest, EVENTS_SHOWN)
        rows = [
            (moment(e.at), e.kind, link("task", e.task_id), e.status, e.actor, compact(e.data))
            for e in events
        ]
        columns = ("At (UTC)", "Event", "Task", "Status after", "By", "Details")
        return Table("Events, newest first", columns, rows, note, is_history=True)

    @admin.display(description="instance")
    def indented_title(self, instance: Any) -> SafeString:
        """The name, indented below the parent's name, and the id where it differs."""
        return format_html(
            '<div class="hopper-node">{}{} <small>{}</small></div>',
            format_html_join(
                "", "<{0} class='hopper-indent'></{0}>", [["span"]] * instance.depth()
            ),
            instance.name,
            "" if instance.pk == instance.name else instance.pk,
        )

    @admin.display(description="status")
    def own_status(self, instance: Any) -> SafeString | str:
        """The instance's own status."""
        return pill(instance.status)

    @admin.display(description="in effect")
    def in_effect(self, instance: Any) -> SafeString | str:
        """The status after inheritance (R4)."""
        return pill(instance.tally.effective)

    @admin.display(description="status in effect")
    def in_effect_now(self, instance: HopperInstance) -> SafeString | str:
        """The effective status (R4), read for one instance."""
        return pill(instance.standing().effective)

    @admin.display(description="open / all tasks")
    def tasks_here(self, instance: Any) -> SafeString:
        """The tasks that the instance itself holds, with a link to the list."""
        return format_html(
            '<a href="{}?instance__id__exact={}">{} / {}</a>',
            reverse("admin:instances_task_changelist"),
            instance.pk,
            instance.tally.open,
            instance.tally.total,
        )

    @admin.display(description="with all below")
    def tasks_below(self, instance: Any) -> SafeString | str:
        """The tasks of the instance and everything below it, and the way to hidden instances."""
        counts = f"{instance.tally.open_below} / {instance.tally.total_below}"
        if not instance.tally.is_folded:
            return counts
        return format_html('{} <a href="?below={}">show below</a>', counts, instance.pk)

    def _move_node(self, request: HttpRequest) -> HttpResponse:
        """Move an instance by dragging: into another instance, or beside one (R1).

        Siblings have no order, so "beside" means under the same parent.
        """
        if not self.has_change_permission(request):
            return self._not_moved(request, "You may look at the tree, not change it.")
        position = request.POST.get("position")
        moved_id, beside_id = (str(request.POST.get(key)) for key in ("cut_item", "pasted_on"))
        if position not in _POSITIONS or not is_slug(moved_id) or not is_slug(beside_id):
            return self._not_moved(request, "This is no instruction to move an instance.")
        try:
            beside = present_instance(beside_id)
            parent_id = beside.pk if position == "last-child" else beside.parent_id
            moved = move_instance(moved_id, parent_id=parent_id, actor=actor_of(request))
        except HopperError as refusal:
            return self._not_moved(request, f"Not moved: {refusal.detail}")
        self.log_change(request, moved, [{"changed": {"fields": ["parent"]}}])
        place = f"under {parent_id}" if parent_id else "to the top"
        self.message_user(request, f"Moved {moved_id} {place}.", messages.SUCCESS)
        return HttpResponse("OK, moved.")

    def _not_moved(self, request: HttpRequest, why: str) -> HttpResponse:
        self.message_user(request, why, messages.ERROR)
        return HttpResponse("FAIL, not moved.")


def _load(instance: HopperInstance) -> Table:
    load = metrics(instance)
    counts = load["task_counts"]
    oldest = load["oldest_waiting_seconds"]
    row = (
        f"{load['in_flight']} / {load['max_concurrent_tasks']}", counts["open"], counts["total"],
        NOTHING if oldest is None else str(timedelta(seconds=round(oldest))),
        load["done_last_hour"], load["done_last_day"], load["rejections"],
    )  # fmt: skip
    columns = (
        "In flight / limit", "Open tasks", "All tasks", "Oldest waits for", "Done in an hour",
        "In a day", "Refusals",
    )  # fmt: skip
    return Table("Load", columns, [row])


def _below(instance: HopperInstance) -> list[Table]:
    """Return the children, and the newest tasks that the instance holds."""
    children, more = cut(instance.children.order_by("name", "pk")[: ROWS_SHOWN + 1], ROWS_SHOWN)
    tasks, others = cut(
        Task.objects.filter(instance=instance).order_by("-pk")[: ROWS_SHOWN + 1], ROWS_SHOWN
    )
    inner = [
        (link("hopperinstance", one.pk), one.name, one.scope, pill(one.status)) for one in children
    ]
    held = [
        (link("task", one.pk), one.title, pill(one.status), one.priority, one.worker or NOTHING)
        for one in tasks
    ]
    return [
        Table("Children", ("Instance", "Name", "Scope", "Status"), inner, more),
        Table(
            "Tasks held, newest first", ("Task", "Title", "Status", "Priority", "Worker"), held,
            others,
        ),
    ]  # fmt: skip


def _settings(instance: HopperInstance) -> Table:
    """Return every setting with its value and its source (M17)."""
    traced = traced_settings(instance.scope, instance.config)
    rows = [(key, compact(one.value) or NOTHING, one.source) for key, one in sorted(traced.items())]
    return Table("Settings in effect", ("Setting", "Value", "From"), rows)
