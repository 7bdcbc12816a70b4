"""Filters and orders of lists. The view refuses an unknown parameter."""

from __future__ import annotations

from functools import partial
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
    keeping,
    matching,
)
from hopper.words import key_of, keys_of
from instances.choices import (
    TERMINAL,
    UNFINISHED,
    HopperScope,
    InstanceStatus,
    InstanceType,
    TaskPriority,
    TaskStatus,
    WaitingCode,
)
from instances.models import InstanceQuerySet, Question, TaskQuerySet
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
    under = filters.CharFilter(method=keeping(InstanceQuerySet.under))
    name = filters.CharFilter(method=keeping(InstanceQuerySet.called))
    search = filters.CharFilter(
        method=matching(
            lambda text: (
                Q(pk__icontains=text)
                | Q(name_key__contains=key_of(text))
                | Q(description__icontains=text)
            )
        )
    )
    # `filter_queryset` applies this filter.
    include_terminated = BooleanParameter(method=keeping(lambda rows, wanted: rows))
    ordering = Ordering(fields=["name", "created_at", "updated_at", "scope", "status", "id"])

    def filter_queryset(self, queryset: Any) -> Any:
        """Return the live instances; all instances if the request asks for terminated ones."""
        asked = self.form.cleaned_data
        wanted = asked.get("include_terminated") or asked.get("status") == "terminated"
        return super().filter_queryset(queryset if wanted else queryset.live())


def _ready(rows: TaskQuerySet, ready: bool) -> TaskQuerySet:
    """Keep the tasks that a worker could claim now, or the pending ones that none could."""
    now = claimable_anywhere()
    return rows.filter(now) if ready else rows.filter(~now, status=TaskStatus.PENDING)


def _dead(rows: TaskQuerySet, dead: bool) -> TaskQuerySet:
    """Keep dead letters, or all other tasks (R15)."""
    if dead:
        return rows.dead_letters()
    return rows.exclude(status=TaskStatus.FAILED, discarded_at__isnull=True)


def _with_text(text: str) -> Q:
    """Return the condition of tasks with the text in id, title, description or project."""
    return (
        Q(pk=text)
        | Q(title__icontains=text)
        | Q(description__icontains=text)
        | Q(project_key__contains=key_of(text))
    )


class TaskFilter(filters.FilterSet):
    """Tasks. `tags` matches any of the words, `all_tags` all of them."""

    # A row matches once: no DISTINCT, which would sort all rows by all columns.
    status = filters.MultipleChoiceFilter(choices=TaskStatus.choices, distinct=False)
    priority = filters.MultipleChoiceFilter(choices=TaskPriority.choices, distinct=False)
    project = filters.CharFilter(method=matching(lambda word: Q(project_key=key_of(word))))
    instance_id = filters.CharFilter()
    under = filters.CharFilter(method=keeping(partial(TaskQuerySet.in_subtree, named=True)))
    tags = WordsParameter(method=matching(lambda words: Q(tag_keys__has_any_word=keys_of(words))))
    all_tags = WordsParameter(
        method=matching(lambda words: Q(tag_keys__has_all_words=keys_of(words)))
    )
    owner = filters.CharFilter()
    requester = filters.CharFilter()
    source = filters.CharFilter()
    worker = filters.CharFilter()
    asked_by = filters.CharFilter(
        method=matching(
            lambda name: Q(pk__in=Question.objects.filter(asked_by=name).values("task_id"))
        )
    )
    parent_id = filters.CharFilter()
    ready = BooleanParameter(method=keeping(_ready))
    open = BooleanParameter(
        method=matching(lambda is_open: Q(status__in=UNFINISHED if is_open else TERMINAL))
    )
    dead_letter = BooleanParameter(method=keeping(_dead))
    waiting_code = ChoiceParameter(choices=WaitingCode.choices, method=matching(waiting_condition))
    created_after = TimeParameter(field_name="created_at", lookup_expr="gte")
    created_before = TimeParameter(field_name="created_at", lookup_expr="lt")
    updated_after = TimeParameter(field_name="updated_at", lookup_expr="gte")
    updated_before = TimeParameter(field_name="updated_at", lookup_expr="lt")
    search = filters.CharFilter(method=matching(_with_text))
    ordering = TaskOrdering(
        fields=["created_at", "updated_at", "priority", "status", "title", "queue_at", "id"]
    )


class TaskSearchFilter(TaskFilter):
    """Tasks with the text `q`."""

    q = filters.CharFilter(method=matching(_with_text))


class HistoryFilter(filters.FilterSet):
    """The events of one instance or task."""

    since = TimeParameter(field_name="at", lookup_expr="gte")
    kind = ChoiceParameter(choices=list(EVENTS.items()))


class EventFilter(HistoryFilter):
    """The events of all, oldest first."""

    instance_id = filters.CharFilter()
    task_id = filters.CharFilter()
