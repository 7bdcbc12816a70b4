"""`manage.py hopper_token`: create, list and revoke tokens. A token is shown once."""

from __future__ import annotations

import os
import re
from argparse import ArgumentTypeError
from datetime import timedelta
from typing import Any

from django.core.management.base import CommandError, CommandParser
from django.utils import timezone

from hopper.actors import ROLES
from hopper.commands import OperatorCommand
from hopper.errors import Conflict, NotFound
from instances.models import AgentToken, HopperInstance
from instances.tokens import create_token, revoke_token
from instances.tree.status import no_instance

_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}


class Command(OperatorCommand):
    reads_configuration = False
    help = "Make, list and revoke tokens. Only a digest is stored: a token is shown once."
    examples = """\
  hopper token create ada                                      admin everywhere
  hopper token create bot-1 --instance web-run --role worker   a worker there and below
  hopper token create visitor --role viewer --expires 7d
  hopper token list
  hopper token revoke bot-1"""

    def add_arguments(self, parser: CommandParser) -> None:
        verbs = parser.add_subparsers(dest="verb", required=True, metavar="create|list|revoke")
        create = verbs.add_parser("create", help="make a token and print it once")
        create.add_argument("name", type=_name, help="who acts: the name that history records")
        create.add_argument(
            "--instance", metavar="ID", help="there and below (default: everywhere)"
        )
        create.add_argument(
            "--role",
            choices=ROLES,
            help="default: worker at an instance, admin where it holds everywhere",
        )
        create.add_argument("--expires", type=_period, metavar="PERIOD", help="such as 12h or 30d")
        listing = verbs.add_parser("list", help="list the tokens, without their secret")
        revoke = verbs.add_parser("revoke", help="make a token worthless, at once")
        revoke.add_argument("name")
        for verb in (create, listing, revoke):
            verb.add_argument("--json", action="store_true", help="print JSON")

    def handle(self, *args: Any, **options: Any) -> None:
        verbs = {"create": self._create, "list": self._list, "revoke": self._revoke}
        verbs[options["verb"]](options)

    def _create(self, options: dict[str, Any]) -> None:
        name, instance_id = options["name"], options["instance"]
        if instance_id and not HopperInstance.objects.filter(pk=instance_id).exists():
            raise CommandError(str(no_instance(instance_id)))
        role = options["role"] or ("worker" if instance_id else "admin")
        try:
            token, secret = create_token(
                name, role=role, instance_id=instance_id, lifetime=options["expires"]
            )
        except Conflict as refusal:
            raise CommandError(refusal.detail) from None
        if options["json"]:
            self.say_json({**_described(token), "token": secret})
            return
        self.say(f"Token {name}, {role} {_place(token)}, shown this once:")
        self.say(f"  {secret}")
        self.say("Try it:")
        self.say(f"  curl -H 'Authorization: Bearer {secret}' {_address()}/api/v1/status")

    def _list(self, options: dict[str, Any]) -> None:
        tokens = list(AgentToken.objects.order_by("name", "created"))
        if options["json"]:
            self.say_json([_described(token) for token in tokens])
            return
        for token in tokens:
            self.say(f"{token.name}  {token.role} {_place(token)}  {_validity(token)}")
        if not tokens:
            self.say("No tokens. `hopper token create NAME` makes one.")

    def _revoke(self, options: dict[str, Any]) -> None:
        name = options["name"]
        try:
            revoked = revoke_token(name)
        except NotFound as refusal:
            raise CommandError(refusal.detail) from None
        if options["json"]:
            self.say_json({"name": name, "revoked": revoked})
        else:
            self.say(f"Revoked token {name}.")


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


def _name(text: str) -> str:
    if not re.fullmatch(r"[\w.@+-]{1,150}", text):
        raise ArgumentTypeError("1 to 150 letters, digits and . @ + - _")
    return text


def _period(text: str) -> timedelta:
    found = re.fullmatch(r"([1-9][0-9]{0,5})([smhdw])", text)
    if found is None:
        raise ArgumentTypeError("a number and a unit (s, m, h, d, w), such as 12h or 30d")
    return timedelta(**{_UNITS[found[2]]: int(found[1])})
