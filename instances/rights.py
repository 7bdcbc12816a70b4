"""The rights that accounts and stored actors have now."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from datetime import datetime
from typing import Any

from django.conf import settings
from django.contrib.auth import get_user_model
from django.db.models import Q

from hopper.actors import EVERYWHERE, ROLES, Actor
from instances.models import AgentToken, Grant

_EVERYTHING = {EVERYWHERE: "admin"}


def grants_of(account: Any) -> dict[str, str]:
    """Return the highest role of an account at each instance; one query, none for a superuser."""
    return dict(_EVERYTHING) if account.is_superuser else _granted([account.pk])[account.pk]


def grants_of_all(accounts: Iterable[Any]) -> dict[Any, dict[str, str]]:
    """Return the grants of accounts, by primary key; one query."""
    known = {account.pk: account for account in accounts}
    granted = _granted(known)
    return {
        pk: dict(_EVERYTHING) if account.is_superuser else granted[pk]
        for pk, account in known.items()
    }


def _granted(accounts: Collection[Any]) -> dict[Any, dict[str, str]]:
    found: dict[Any, dict[str, str]] = {pk: {} for pk in accounts}
    rows = Grant.objects.filter(user__in=list(accounts))
    for pk, instance_id, role in rows.values_list("user_id", "instance_id", "role"):
        at = instance_id or EVERYWHERE
        found[pk][at] = max(role, found[pk].get(at, role), key=ROLES.index)
    return found


def token_grants(token: AgentToken) -> dict[str, str]:
    """Return the role of a token at its place."""
    return {token.instance_id or EVERYWHERE: token.role}


def actor_now(actor_id: str, name: str, now: datetime) -> Actor:
    """Return a stored actor with the rights that it has now; none for one that was revoked."""
    return Actor(name, _present_grants(actor_id, now), actor_id)


def _present_grants(actor_id: str, now: datetime) -> Mapping[str, str]:
    kind, _, rest = actor_id.partition(":")
    if kind == "operator":
        stands_for_all = rest != "anybody" or settings.HOPPER_AUTH == "off"
        return _EVERYTHING if stands_for_all else {}
    if kind == "user" and rest.isdecimal():
        account = get_user_model().objects.filter(pk=int(rest), is_active=True).first()
        return grants_of(account) if account else {}
    valid = AgentToken.objects.filter(Q(expiry__isnull=True) | Q(expiry__gt=now))
    token = valid.filter(actor_id=actor_id, user__is_active=True).first()
    return token_grants(token) if token else {}
