"""Filters and orders of lists. The view refuses an unknown parameter."""

from __future__ import annotations

from typing import Any

from django.db.models import Case, IntegerField, Q, QuerySet, When
from django_filters import rest_framework as filters

from hopper.errors import Invalid
from hopper.protocol import EVENTS
from hopper.rest.filters import (
    BooleanParameter,
    ChoiceParameter,
    ScopeParameter,
    TimeParameter,
    WordsParameter,
)
from hopper.words import key_of, keys_of
from instances.choices import (
    TERMINAL,
    HopperScope,
    InstanceStatus,
    InstanceType,
    TaskPriority,
    TaskStatus,
    WaitingCode,
)
from instances.models import Event, HopperInstance, Question, Task
from instances.waiting import claimable_anywhere, waiting_condition


class Ordering(filters.OrderingFilter):
    """An order that always ends with the id, so that no page repeats or skips a row."""

    def filter(self, qs: QuerySet[Any], value: list[str] | None) -> QuerySet[Any]:
        """Return the rows in the order asked for, the newest first by default."""
        if value and not all(value):
            raise Invalid.field("ordering", "an empty name: leave it out", "blank")
        wanted = [self.get_ordering_value(param) for param in value or []]
        return qs.order_by(*wanted, "pk") if wanted else qs.order_by("-created_at", "-pk")


class TaskOrdering(Ordering):
    """The order of tasks; by priority means the most urgent first."""

    def filter(self, qs: QuerySet[Any], value: list[str] | None) -> QuerySet[Any]:
        """Return the rows in the order asked for; by default by id, the newest first."""
        return super().filter(qs, value) if value else qs.order_by("-pk")

    def get_ordering_value(self, param: str) -> Any:
        """Return the expressions to order by. Priorities are ordered by urgency."""
        found = super().get_ordering_value(param)
        if found.lstrip("-") != "priority":
            return found
        ranks = [When(priority=word, then=rank) for rank, word in enumerate(_URGENT_FIRST)]
        order = Case(*ranks, output_field=IntegerField())
        return order.desc() if found.startswith("-") else order.asc()


_URGENT_FIRST = tuple(reversed(TaskPriority.values))


class InstanceFilter(filters.FilterSet):
    """Instances. Terminated instances are listed only on request."""

    scope = ScopeParameter(choices=HopperScope.choices)
    status = ChoiceParameter(choices=InstanceStatus.choices)
    instance_type = ChoiceParameter(choices=InstanceType.choices)
    parent_id = filters.CharFilter()
    root = BooleanParameter(field_name="parent", lookup_expr="isnull")
    under = filters.CharFilter(method="keep_under")
    name = filters.CharFilter(method="keep_called")
    search = filters.CharFilter(method="keep_matching")
    include_terminated = BooleanParameter(method="keep_all")
    ordering = Ordering(fields=["name", "created_at", "updated_at", "scope", "status", "id"])

    class Meta:
        model = HopperInstance
        fields: tuple[str, ...] = ()

    def filter_queryset(self, queryset: Any) -> Any:
        """Return the live instances; all instances if the request asks for terminated ones."""
        asked = self.form.cleaned_data
        wanted = asked.get("include_terminated") or asked.get("status") == "terminated"
        return super().filter_queryset(queryset if wanted else queryset.live())

    def keep_under(self, queryset: Any, name: str, value: str) -> Any:
        """Keep an instance and its subtree."""
        return queryset.under(value)

    def keep_matching(self, queryset: Any, name: str, value: str) -> Any:
        """Keep instances with the text in id, name or description."""
        return queryset.filter(
            Q(pk__icontains=value)
            | Q(name_key__contains=key_of(value))
            | Q(description__icontains=value)
        )

    def keep_called(self, queryset: Any, name: str, value: str) -> Any:
        """Keep instances of that name (R25)."""
        return queryset.called(value)

    def keep_all(self, queryset: Any, name: str, value: bool) -> Any:
        """Keep all rows: `filter_queryset` applies this filter."""
        return queryset


class TaskFilter(filters.FilterSet):
    """Tasks. `tags` matches any of the words, `all_tags` all of them."""

    # A row matches once: no DISTINCT, which would sort all rows by all columns.
    status = filters.MultipleChoiceFilter(choices=TaskStatus.choices, distinct=False)
    priority = filters.MultipleChoiceFilter(choices=TaskPriority.choices, distinct=False)
    project = filters.CharFilter(method="keep_of_project")
    instance_id = filters.CharFilter()
    under = filters.CharFilter(method="keep_under")
    tags = WordsParameter(method="keep_any_tag")
    all_tags = WordsParameter(method="keep_all_tags")
    owner = filters.CharFilter()
    requester = filters.CharFilter()
    source = filters.CharFilter()
    worker = filters.CharFilter()
    asked_by = filters.CharFilter(method="keep_asked")
    parent_id = filters.CharFilter()
    ready = BooleanParameter(method="keep_ready")
    open = BooleanParameter(method="keep_open")
    dead_letter = BooleanParameter(method="keep_dead_letters")
    waiting_code = ChoiceParameter(choices=WaitingCode.choices, method="keep_waiting")
    created_after = TimeParameter(field_name="created_at", lookup_expr="gte")
    created_before = TimeParameter(field_name="created_at", lookup_expr="lt")
    updated_after = TimeParameter(field_name="updated_at", lookup_expr="gte")
    updated_before = TimeParameter(field_name="updated_at", lookup_expr="lt")
    search = filters.CharFilter(method="keep_matching")
    ordering = TaskOrdering(
        fields=["created_at", "updated_at", "priority", "status", "title", "queue_at", "id"]
    )

    class Meta:
        model = Task
        fields: tuple[str, ...] = ()

    def keep_under(self, queryset: Any, name: str, value: str) -> Any:
        """Keep tasks held by an instance or below it."""
        return queryset.in_subtree(value)

    def keep_of_project(self, queryset: Any, name: str, value: str) -> Any:
        """Keep tasks that name this project (R25)."""
        return queryset.filter(project_key=key_of(value))

    def keep_any_tag(self, queryset: Any, name: str, value: list[str]) -> Any:
        """Keep tasks with any of the tags."""
        return queryset.filter(tag_keys__has_any_word=keys_of(value))

    def keep_all_tags(self, queryset: Any, name: str, value: list[str]) -> Any:
        """Keep tasks with all of the tags."""
        return queryset.filter(tag_keys__has_all_words=keys_of(value))

    def keep_ready(self, queryset: Any, name: str, value: bool) -> Any:
        """Keep the tasks that a worker could claim now, or the pending ones that none could."""
        now = claimable_anywhere()
        if value:
            return queryset.filter(now)
        return queryset.filter(~now, status=TaskStatus.PENDING)

    def keep_asked(self, queryset: Any, name: str, value: str) -> Any:
        """Keep the tasks about which a worker or person has asked a question."""
        return queryset.filter(pk__in=Question.objects.filter(asked_by=value).values("task_id"))

    def keep_open(self, queryset: Any, name: str, value: bool) -> Any:
        """Keep unfinished tasks, or finished ones."""
        return (
            queryset.exclude(status__in=TERMINAL) if value else queryset.filter(status__in=TERMINAL)
        )

    def keep_dead_letters(self, queryset: Any, name: str, value: bool) -> Any:
        """Keep dead letters, or all other tasks (R15)."""
        if value:
            return queryset.dead_letters()
        return queryset.exclude(status=TaskStatus.FAILED, discarded_at__isnull=True)

    def keep_matching(self, queryset: Any, name: str, value: str) -> Any:
        """Keep tasks with the text in id, title, description or project."""
        return queryset.filter(
            Q(pk=value)
            | Q(title__icontains=value)
            | Q(description__icontains=value)
            | Q(project_key__contains=key_of(value))
        )

    def keep_waiting(self, queryset: Any, name: str, value: str) -> Any:
        """Keep tasks that wait for this reason (R26)."""
        return queryset.filter(waiting_condition(value))


class TaskSearchFilter(TaskFilter):
    """Tasks with the text `q`."""

    q = filters.CharFilter(method="keep_matching")


class HistoryFilter(filters.FilterSet):
    """The events of one instance or task."""

    since = TimeParameter(field_name="at", lookup_expr="gte")
    kind = ChoiceParameter(choices=list(EVENTS.items()))

    class Meta:
        model = Event
        fields: tuple[str, ...] = ()


class EventFilter(HistoryFilter):
    """The events of all, oldest first."""

    instance_id = filters.CharFilter()
    task_id = filters.CharFilter()
