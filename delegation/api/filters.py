"""Filters of lists of delegations."""

from __future__ import annotations

from typing import Any

from django.db.models import Q
from django_filters import rest_framework as filters

from delegation.choices import DelegationStatus, DelegationType
from delegation.models import TaskDelegation
from instances.models import HopperInstance


class DelegationFilter(filters.FilterSet):
    """Delegations, the newest first."""

    task_id = filters.CharFilter()
    source_instance_id = filters.CharFilter()
    target_instance_id = filters.CharFilter()
    status = filters.MultipleChoiceFilter(choices=DelegationStatus.choices)
    delegation_type = filters.ChoiceFilter(choices=DelegationType.choices)
    under = filters.CharFilter(method="keep_under")

    class Meta:
        model = TaskDelegation
        fields: tuple[str, ...] = ()

    def keep_under(self, queryset: Any, name: str, value: str) -> Any:
        """Keep delegations from or to an instance or an instance below it."""
        below = HopperInstance.objects.under(value).values("pk")
        return queryset.filter(Q(source_instance__in=below) | Q(target_instance__in=below))


class InstanceDelegationFilter(DelegationFilter):
    """The delegations of one instance, by direction."""

    direction = filters.ChoiceFilter(
        choices=[(word, word) for word in ("incoming", "outgoing", "all")], method="keep_all"
    )

    def keep_all(self, queryset: Any, name: str, value: str) -> Any:
        """Keep all rows: the view applies the direction."""
        return queryset
