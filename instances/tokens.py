"""Tokens of programs: made with a name that no other actor has, and revoked."""

from __future__ import annotations

from datetime import timedelta
from unicodedata import normalize

from django.contrib.auth import get_user_model
from django.contrib.auth.models import AbstractBaseUser
from django.db import transaction

from hopper.actors import RESERVED
from hopper.errors import Conflict, NotFound
from instances.models import AgentToken, new_actor_id


def create_token(
    name: str, *, role: str, instance_id: str | None = None, lifetime: timedelta | None = None
) -> tuple[AgentToken, str]:
    """Make a token and return it with its secret, which is stored as a digest only.

    Raises Conflict for the name of a token, of an account, or of a part of Hopper.
    """
    with transaction.atomic():
        _require_free(name)
        actor_id = new_actor_id()
        # An account that signs in only by the token. Its name is nobody's.
        account = get_user_model().objects.create_user(actor_id.replace(":", "-"))
        made: tuple[AgentToken, str] = AgentToken.objects.create(
            account,
            expiry=lifetime,
            name=name,
            actor_id=actor_id,
            instance_id=instance_id,
            role=role,
        )
    return made


def revoke_token(name: str) -> int:
    """Delete the tokens of a name, with the accounts made for them. Return how many tokens.

    Raises NotFound.
    """
    with transaction.atomic():
        tokens = list(AgentToken.objects.filter(name=name).select_related("user"))
        if not tokens:
            raise NotFound(f"There is no token of the name {name}.")
        for token in tokens:
            token.delete()
            if token.user.get_username() == token.actor_id.replace(":", "-"):
                token.user.delete()
    return len(tokens)


def _require_free(name: str) -> None:
    if normalize("NFKC", name).casefold() in RESERVED:
        raise Conflict(f"{name} is the name of a part of Hopper: take another.", code="name_taken")
    if AgentToken.objects.filter(name=name).exists():
        raise Conflict(f"There is a token of the name {name}: revoke it first.", code="name_taken")
    accounts = get_user_model().objects.filter(username__iexact=name)
    if any(map(_signs_in, accounts)):
        raise Conflict(f"There is an account of the name {name}: take another.", code="name_taken")


def _signs_in(account: AbstractBaseUser) -> bool:
    """Return whether a person uses the account. Older releases left accounts of revoked tokens."""
    person = account.has_usable_password() or getattr(account, "is_staff", False)
    # The relation of `Grant`: the stubs do not know the model of accounts.
    return bool(person or account.hopper_grants.exists())  # type: ignore[attr-defined]
