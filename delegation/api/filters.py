"""Filters of lists of delegations."""

from __future__ import annotations

from django.db.models import Q
from django_filters import rest_framework as filters

from delegation.choices import DelegationStatus, DelegationType
from hopper.rest.filters import keeping, matching
from instances.models import HopperInstance


def _near(instance_id: str) -> Q:
    """Return the condition of delegations from or to an instance or an instance below it."""
    below = HopperInstance.objects.under(instance_id).ids()
    return Q(source_instance__in=below) | Q(target_instance__in=below)


class DelegationFilter(filters.FilterSet):
    """Delegations, the newest first."""

    task_id = filters.CharFilter()
    source_instance_id = filters.CharFilter()
    target_instance_id = filters.CharFilter()
    status = filters.MultipleChoiceFilter(choices=DelegationStatus.choices, distinct=False)
    delegation_type = filters.ChoiceFilter(choices=DelegationType.choices)
    under = filters.CharFilter(method=matching(_near))


class InstanceDelegationFilter(DelegationFilter):
    """The delegations of one instance, by direction."""

    # The view applies the direction.
    direction = filters.ChoiceFilter(
        choices=[(word, word) for word in ("incoming", "outgoing", "all")],
        method=keeping(lambda rows, direction: rows),
    )
