"""`manage.py hopper_serve`: serve a team by one command, with the sweep in a process of its own."""

from __future__ import annotations

import io
import json
import logging
import os
import shlex
import socket
from argparse import ArgumentTypeError
from collections.abc import Callable
from functools import partial
from typing import Any

from django.conf import settings
from django.contrib.auth import get_user_model
from django.core.management import call_command
from django.core.management.base import CommandError, SystemCheckError
from django.db import connections

from hopper import __version__, embedded
from hopper.checks import advise_at_start, require_sound_start
from hopper.cli.arguments import option
from hopper.commands import OperatorCommand
from hopper.serving.application import THREADS, Application
from hopper.serving.mailboxes import Mailboxes
from hopper.serving.processes import Role, Team
from hopper.serving.safety import names_of, refusals
from hopper.serving.server import Server
from hopper.upgrades import migrate
from instances.models import AgentToken
from instances.tasks.wakeups import WAKEUPS

FIRST_TOKEN = "first"  # noqa: S105 - a name
BACKLOG = 2048


def _port(text: str) -> int:
    if text.isascii() and text.isdigit() and int(text) <= 65535:
        return int(text)
    raise ArgumentTypeError("a number from 0 to 65535")


def _count(text: str) -> int:
    if text.isascii() and text.isdigit() and 1 <= int(text) <= 64:
        return int(text)
    raise ArgumentTypeError("a number from 1 to 64")


class Command(OperatorCommand):
    help = (
        "Serve the REST interface, the pages and the admin, and sweep in a process of its own. "
        "Migrates the database first. SIGTERM or Ctrl-C lets running requests finish."
    )
    examples = """\
  hopper serve                               for this machine, on the store of this machine
  hopper serve --host 0.0.0.0 --port 8080    for a team, behind a proxy with TLS
  hopper serve --database postgres://hopper@db/hopper --workers 4"""

    arguments = (
        option("--host", default="127.0.0.1", help="address to listen at (default: 127.0.0.1)"),
        option("--port", type=_port, default=8000, help="port, 0 for any free one (default: 8000)"),
        option("--workers", type=_count, default=2, help="processes for requests (default: 2)"),
        option("--threads", type=_count, default=THREADS, help=f"in each (default: {THREADS})"),
    )

    def handle(self, *args: Any, **options: Any) -> None:
        if "HOPPER_ALLOWED_HOSTS" not in os.environ:
            settings.ALLOWED_HOSTS = names_of(options["host"])
        self._require_safety(options["host"])
        migrate()
        _require(advise_at_start)
        listening = _listen(options["host"], options["port"])
        self._tell(listening, options)
        application = Application(options["threads"])
        connections.close_all()
        mailboxes = Mailboxes(options["workers"])
        serve = partial(_serve, application, listening, mailboxes)
        roles = [
            Role(f"worker {number + 1}", partial(serve, number))
            for number in range(options["workers"])
        ]
        Team([*roles, Role("sweep", partial(_sweep, mailboxes))]).run()
        self.say("Ended.")

    def _require_safety(self, host: str) -> None:
        """Raise CommandError for settings that are not safe for a server at this address."""
        if found := list(refusals(host)):
            raise CommandError("\n".join(found))
        _require(require_sound_start)

    def _tell(self, listening: socket.socket, options: dict[str, Any]) -> None:
        """Write the addresses, how to sign in, and a first token where there is none."""
        address = _address(options["host"], listening.getsockname()[1])
        workers = options["workers"]
        noun = "worker" if workers == 1 else "workers"
        team = f"{workers} {noun} of {options['threads']} threads, and a sweep."
        made_by = f"hopper user create NAME{_named()}"
        signs_in = get_user_model().objects.filter(is_superuser=True).exists()
        token = [f"  Token     `hopper token create NAME{_named()}` makes one"]
        if not AgentToken.objects.exists():
            shown = f"            named {FIRST_TOKEN}, admin everywhere, shown this once"
            token = [f"  Token     {_first_token()}", shown]
        for line in (
            f"Hopper {__version__} serves {address}",
            f"  {team} SIGTERM or Ctrl-C ends it.",
            f"  Database  {_database()}",
            f"  Names     {', '.join(settings.ALLOWED_HOSTS)}",
            f"  Pages     {address}/",
            f"  API       {address}/api/v1/docs",
            f"  Admin     {address}/admin/",
            *([] if signs_in else [f"            sign in with an account: `{made_by}` makes it"]),
            *token,
        ):
            self.say(line)


def _require(check: Callable[[], None]) -> None:
    """Run a check of the start. Raises CommandError with its errors."""
    try:
        check()
    except SystemCheckError as error:
        raise CommandError(str(error)) from error


def _serve(
    application: Application, listening: socket.socket, mailboxes: Mailboxes, number: int
) -> None:
    """Answer requests until SIGTERM. Runs in a process of its own."""
    logging.getLogger("uvicorn").setLevel(logging.ERROR)
    WAKEUPS.tell_others = partial(mailboxes.tell, number)
    listen = partial(mailboxes.listen, number, WAKEUPS.wake)
    Server(application, settings.HOPPER_PROXIES, listen).run([listening])


def _sweep(mailboxes: Mailboxes) -> None:
    """Sweep until SIGTERM. Runs in a process of its own."""
    WAKEUPS.tell_others = partial(mailboxes.tell, None)
    call_command("hopper_sweep", "--loop", stdout=io.StringIO())


def _first_token() -> str:
    out = io.StringIO()
    call_command("hopper_token", "create", FIRST_TOKEN, "--json", stdout=out)
    token: str = json.loads(out.getvalue())["token"]
    return token


def _listen(host: str, port: int) -> socket.socket:
    """Return a socket that listens. Raises CommandError where the address is not free."""
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        return socket.create_server((host, port), family=family, backlog=BACKLOG)
    except OSError as error:
        raise CommandError(
            f"Cannot listen at {host}:{port}: {error.strerror or error}. "
            "Choose another --host or --port."
        ) from error


def _address(host: str, port: int) -> str:
    shown = {"0.0.0.0": socket.gethostname(), "::": socket.gethostname()}.get(host, host)  # noqa: S104
    return f"http://[{shown}]:{port}" if ":" in shown else f"http://{shown}:{port}"


def _database() -> str:
    database = settings.DATABASES["default"]
    place = f" at {database['HOST']}" if database.get("HOST") else ""
    return f"{database['NAME']}{place}"


def _named() -> str:
    """Return the option that names the server's SQLite file, where the environment chose it."""
    database = settings.DATABASES["default"]
    if "HOPPER_DATABASE_URL" not in os.environ or database["ENGINE"] != embedded.ENGINE:
        return ""
    return f" --database {shlex.quote(str(database['NAME']))}"
