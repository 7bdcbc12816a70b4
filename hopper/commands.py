"""Base classes of the management commands that are also commands of `hopper`."""

from __future__ import annotations

import json
import re
import sys
import time
from argparse import SUPPRESS, ArgumentTypeError, Namespace, RawDescriptionHelpFormatter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import InternalError, OperationalError, ProgrammingError

from hopper.cli.arguments import HopperParser, Option, flag
from hopper.cli.local import open_transport
from hopper.cli.main import run
from hopper.cli.parser import GROUPS, PARTS, filler
from hopper.cli.startup import prepare
from hopper.config.document import BrokenConfig
from hopper.config.files import CONFIGURATION
from hopper.database import is_outage
from hopper.database.engine import BackupError
from hopper.errors import HopperError
from hopper.masks import masked
from hopper.upgrades import OlderServer

PROGRESS_SECONDS = 5
JSON = flag("--json", help="print JSON")


class SharedCommand(BaseCommand):
    """A management command that shares its parser with `hopper`, on the configured database."""

    name: str
    """The name in the tables of groups."""
    requires_system_checks: list[str] = []

    def create_parser(  # type: ignore[override]
        self, prog_name: str, subcommand: str, **options: Any
    ) -> HopperParser:
        """Return the shared parser with the options of Django."""
        prog = f"{Path(prog_name).name} {subcommand}"
        place, words = (GROUPS | PARTS)[self.name]
        parser = HopperParser(prog=prog, description=words)
        filler(place)(parser)
        for name in ("--settings", "--pythonpath"):
            parser.add_argument(name, help=SUPPRESS)
        for name in ("--traceback", "--force-color", "--skip-checks"):
            parser.add_argument(name, action="store_true", help=SUPPRESS)
        parser.set_defaults(verbosity=1, no_color=False)
        return parser

    def handle(self, *args: Any, **options: Any) -> None:
        """Carry out the command. Exits with the code of the command unless the code is 0."""
        self.stdout.ending = ""
        code = run(Namespace(**options), open_transport(), cast("Any", self.stdout))
        if code:
            sys.exit(code)


class OperatorCommand(BaseCommand):
    """A command on the database itself. The first use creates and migrates an embedded store."""

    examples = ""
    as_json = False
    arguments: Sequence[Option] = ()
    verbs: Mapping[str, tuple[str, Sequence[Option]]] = {}
    """The help and the arguments of each verb, if the command has verbs."""
    reads_configuration = True
    """Whether the command refuses to write while the configuration of this machine is broken."""
    prepares_store = True
    """Whether an embedded store is migrated first."""
    requires_system_checks: list[str] = []

    def create_parser(self, prog_name: str, subcommand: str, **options: Any) -> CommandParser:
        """Return the parser. The help shows the examples below the options."""
        options.setdefault("formatter_class", RawDescriptionHelpFormatter)
        options.setdefault("epilog", f"examples:\n{self.examples}")
        return super().create_parser(prog_name, subcommand, **options)

    def add_arguments(self, parser: CommandParser) -> None:
        """Add the arguments, or the verbs with theirs."""
        for add in self.arguments:
            add(parser)
        if self.verbs:
            verbs = parser.add_subparsers(dest="verb", required=True, metavar="|".join(self.verbs))
            for name, (help, options) in self.verbs.items():
                verb = verbs.add_parser(name, help=help)
                for add in options:
                    add(verb)

    def execute(self, *args: Any, **options: Any) -> str | None:
        """Migrate an embedded store, check the configuration, then carry out the command."""
        self.as_json = bool(options.get("json"))
        with explained():
            if self.prepares_store:
                prepare()
            if self.reads_configuration:
                CONFIGURATION.current()
            return super().execute(*args, **options)

    def say(self, line: str = "") -> None:
        """Write one line and flush it, so that a person sees progress."""
        self.stdout.write(line)
        self.stdout.flush()

    def answer(self, value: Any, lines: Iterable[str], *, indent: int | None = 2) -> None:
        """Write the value as JSON where --json asks for it, else the lines."""
        if self.as_json:
            lines = [json.dumps(value, indent=indent, ensure_ascii=False)]
        for line in lines:
            self.say(line)


class Progress:
    """Says on stderr every few seconds how far a long command is."""

    def __init__(self, command: BaseCommand, words: str) -> None:
        self._stderr, self._words = command.stderr, words
        self._next = time.monotonic() + PROGRESS_SECONDS

    def __call__(self, number: int) -> None:
        """Write the number, unless the last line is less than five seconds old."""
        if time.monotonic() >= self._next:
            self._next = time.monotonic() + PROGRESS_SECONDS
            self._stderr.write(f"{number:,} {self._words}", lambda text: text)


@contextmanager
def explained() -> Iterator[None]:
    """Raise CommandError, with advice, for a refusal, a broken configuration or database."""
    try:
        yield
    except (BrokenConfig, OlderServer, BackupError, HopperError) as error:
        raise CommandError(masked(str(error))) from error
    except ProgrammingError as error:
        raise CommandError(
            f"Hopper has no tables in this database: {str(error).splitlines()[0]}. "
            "Run `hopper migrate` first."
        ) from error
    except InternalError as error:
        if not is_outage(error):
            raise
        raise CommandError(
            f"The database takes no changes: {str(error).strip()}. "
            "Name the primary in HOPPER_DATABASE_URL, not a standby or replica."
        ) from error
    except OperationalError as error:
        raise CommandError(f"The database does not answer: {str(error).strip()}.") from error


def account_name(text: str) -> str:
    """Return the text as the name of an account or a token."""
    if not re.fullmatch(r"[\w.@+-]{1,150}", text):
        raise ArgumentTypeError("1 to 150 letters, digits and . @ + - _")
    return text
