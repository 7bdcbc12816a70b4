"""`manage.py hopper_token`: create, list and revoke tokens. A token is shown once."""

from __future__ import annotations

import os
import re
from argparse import ArgumentTypeError
from datetime import timedelta
from typing import Any

from django.utils import timezone

from hopper.actors import ROLES
from hopper.cli.arguments import option
from hopper.commands import JSON, OperatorCommand, account_name
from instances.models import AgentToken, HopperInstance
from instances.tokens import create_token, revoke_token
from instances.tree.status import no_instance

_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}


def _period(text: str) -> timedelta:
    found = re.fullmatch(r"([1-9][0-9]{0,5})([smhdw])", text)
    if found is None:
        raise ArgumentTypeError("a number and a unit (s, m, h, d, w), such as 12h or 30d")
    return timedelta(**{_UNITS[found[2]]: int(found[1])})


class Command(OperatorCommand):
    reads_configuration = False
    help = "Make, list and revoke tokens. Only a digest is stored: a token is shown once."
    examples = """\
  hopper token create ada                                      admin everywhere
  hopper token create bot-1 --instance web-run --role worker   a worker there and below
  hopper token create visitor --role viewer --expires 7d
  hopper token list
  hopper token revoke bot-1"""

    verbs = {
        "create": (
            "make a token and print it once",
            (
                option("name", type=account_name, help="who acts: the name that history records"),
                option("--instance", metavar="ID", help="there and below (default: everywhere)"),
                option(
                    "--role",
                    choices=ROLES,
                    help="default: worker at an instance, admin where it holds everywhere",
                ),
                option("--expires", type=_period, metavar="PERIOD", help="such as 12h or 30d"),
                JSON,
            ),
        ),
        "list": ("list the tokens, without their secret", [JSON]),
        "revoke": ("make a token worthless, at once", (option("name"), JSON)),
    }

    def handle(self, *args: Any, **options: Any) -> None:
        verbs = {"create": self._create, "list": self._list, "revoke": self._revoke}
        verbs[options["verb"]](options)

    def _create(self, options: dict[str, Any]) -> None:
        name, instance_id = options["name"], options["instance"]
        if instance_id and not HopperInstance.objects.filter(pk=instance_id).exists():
            raise no_instance(instance_id)
        role = options["role"] or ("worker" if instance_id else "admin")
        token, secret = create_token(
            name, role=role, instance_id=instance_id, lifetime=options["expires"]
        )
        lines = (
            f"Token {name}, {role} {_place(token)}, shown this once:",
            f"  {secret}",
            "Try it:",
            f"  curl -H 'Authorization: Bearer {secret}' {_address()}/api/v1/status",
        )
        self.answer({**_described(token), "token": secret}, lines)

    def _list(self, options: dict[str, Any]) -> None:
        tokens = list(AgentToken.objects.order_by("name", "created"))
        lines = [f"{one.name}  {one.role} {_place(one)}  {_validity(one)}" for one in tokens]
        none = ["No tokens. `hopper token create NAME` makes one."]
        self.answer([_described(token) for token in tokens], lines or none)

    def _revoke(self, options: dict[str, Any]) -> None:
        name = options["name"]
        self.answer({"name": name, "revoked": revoke_token(name)}, [f"Revoked token {name}."])


def _described(token: AgentToken) -> dict[str, Any]:
    return {
        "name": token.name,
        "role": token.role,
        "instance_id": token.instance_id,
        "created_at": token.created.isoformat(),
        "expires_at": token.expiry.isoformat() if token.expiry else None,
    }


def _place(token: AgentToken) -> str:
    return f"at {token.instance_id} and below" if token.instance_id else "everywhere"


def _validity(token: AgentToken) -> str:
    if token.expiry is None:
        return "does not expire"
    verb = "expired" if token.expiry < timezone.now() else "expires"
    return f"{verb} {token.expiry:%Y-%m-%d %H:%M} UTC"


def _address() -> str:
    return os.environ.get("HOPPER_URL", "http://127.0.0.1:8000").rstrip("/")
