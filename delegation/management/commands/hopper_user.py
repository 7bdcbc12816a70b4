"""`manage.py hopper_user`: accounts for the admin site. API tokens are made by `hopper_token`."""

from __future__ import annotations

import getpass
import sys
from typing import Any

from axes.utils import reset
from django.contrib.auth import get_user_model
from django.contrib.auth.models import User
from django.contrib.auth.password_validation import validate_password
from django.core.exceptions import ValidationError
from django.core.management.base import CommandError

from hopper.cli.arguments import flag, option
from hopper.commands import JSON, OperatorCommand, account_name

_ACCOUNT = (
    option("name", type=account_name, help="the name to sign in with"),
    flag("--password-stdin", help="read the password"),
    JSON,
)


class Command(OperatorCommand):
    reads_configuration = False
    help = "Make and list the accounts of people who sign in to the admin site, as admins."
    examples = """\
  hopper user create ada                                 asks for the password
  hopper user create ada --password-stdin < secret       reads its first line
  hopper user password ada
  hopper user list"""

    verbs = {
        "create": ("make an account that may do everything", _ACCOUNT),
        "password": ("set another password, which also ends a lock-out", _ACCOUNT),
        "list": ("list the accounts", [JSON]),
    }

    def handle(self, *args: Any, **options: Any) -> None:
        if options["verb"] == "list":
            self._list()
            return
        account = get_user_model().objects.filter(username=options["name"]).first()
        is_new = options["verb"] == "create"
        if is_new and account is not None:
            raise CommandError(
                f"There is an account {options['name']}: `hopper user password` sets its password."
            )
        if account is None and not is_new:
            raise CommandError(f"There is no account {options['name']}.")
        if account is None:
            account = get_user_model()(username=options["name"], is_staff=True, is_superuser=True)
        account.set_password(_password(account, from_stdin=options["password_stdin"]))
        account.save()
        reset(username=account.get_username())  # also ends a lock-out
        verb = "Created" if is_new else "Changed the password of"
        self.answer(_described(account), [f"{verb} account {account}."])

    def _list(self) -> None:
        accounts = [
            _described(account)
            for account in get_user_model().objects.order_by("username")
            if account.has_usable_password()
        ]
        lines = []
        for account in accounts:
            role = "admin" if account["admin"] else "by its grants"
            last = account["last_login"] or "never"
            lines.append(f"{account['name']}  {role}  signed in: {last}")
        self.answer(accounts, lines or ["No accounts. `hopper user create NAME` makes one."])


def _password(account: User, *, from_stdin: bool) -> str:
    """Return the password that a person gives. Raises CommandError for a weak one."""
    if from_stdin:
        given = sys.stdin.readline().rstrip("\r\n")
    elif sys.stdin.isatty():
        given = getpass.getpass("Password: ")
        if getpass.getpass("Again: ") != given:
            raise CommandError("The two passwords differ.")
    else:
        raise CommandError("There is no terminal to ask for the password: use --password-stdin.")
    try:
        validate_password(given, account)
    except ValidationError as error:
        raise CommandError(" ".join(error.messages)) from error
    return given


def _described(account: User) -> dict[str, Any]:
    return {
        "name": account.get_username(),
        "admin": account.is_superuser,
        "active": account.is_active,
        "last_login": account.last_login.isoformat() if account.last_login else None,
    }
