"""The management commands that are parts of the tree of `hopper`."""

from __future__ import annotations

import json
import sys
from argparse import SUPPRESS, Namespace, RawDescriptionHelpFormatter
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from django.core.management.base import BaseCommand, CommandError
from django.db import OperationalError, ProgrammingError

from hopper.cli.arguments import HopperParser
from hopper.cli.local import open_transport
from hopper.cli.main import run
from hopper.cli.startup import prepare
from hopper.config.document import BrokenConfig
from hopper.config.files import CONFIGURATION

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from django.core.management.base import CommandParser


class SharedCommand(BaseCommand):
    """A management command that is a part of the tree of `hopper`, on the configured database."""

    fill: Callable[[HopperParser], None]
    requires_system_checks: list[str] = []

    def create_parser(  # type: ignore[override]
        self, prog_name: str, subcommand: str, **options: Any
    ) -> HopperParser:
        """Return the shared parser with what Django itself needs."""
        prog = f"{Path(prog_name).name} {subcommand}"
        parser = HopperParser(prog=prog, description=self.help)
        type(self).fill(parser)
        for name in ("--settings", "--pythonpath"):
            parser.add_argument(name, help=SUPPRESS)
        for name in ("--traceback", "--force-color", "--skip-checks"):
            parser.add_argument(name, action="store_true", help=SUPPRESS)
        parser.set_defaults(verbosity=1, no_color=False)
        return parser

    def handle(self, *args: Any, **options: Any) -> None:
        """Carry out the command; leave with its exit code unless it is 0."""
        self.stdout.ending = ""
        code = run(Namespace(**options), open_transport(), cast("Any", self.stdout))
        if code:
            sys.exit(code)


class OperatorCommand(BaseCommand):
    """A command on the database itself; an embedded store is made and migrated on first use."""

    examples = ""
    reads_configuration = True
    """Whether nothing may be written unless this machine's configuration can be used."""
    requires_system_checks: list[str] = []

    def create_parser(self, prog_name: str, subcommand: str, **options: Any) -> CommandParser:
        """Return the parser, its examples below the options."""
        options.setdefault("formatter_class", RawDescriptionHelpFormatter)
        options.setdefault("epilog", f"examples:\n{self.examples}")
        return super().create_parser(prog_name, subcommand, **options)

    def execute(self, *args: Any, **options: Any) -> str | None:
        """Carry out the command on a store of the newest schema, under a usable configuration."""
        with explained():
            prepare()
            if self.reads_configuration:
                CONFIGURATION.current()
            return super().execute(*args, **options)

    def say(self, line: str = "") -> None:
        """Write one line at once, for somebody may be watching."""
        self.stdout.write(line)
        self.stdout.flush()

    def say_json(self, value: Any, *, indent: int | None = 2) -> None:
        """Write JSON and nothing else."""
        self.say(json.dumps(value, indent=indent, ensure_ascii=False))


@contextmanager
def explained() -> Iterator[None]:
    """Say what to do where the configuration is broken or the database does not answer."""
    try:
        yield
    except BrokenConfig as error:
        raise CommandError(str(error)) from error
    except ProgrammingError as error:
        raise CommandError(
            f"Hopper has no tables in this database: {str(error).splitlines()[0]}. "
            "Run `manage.py migrate` first."
        ) from error
    except OperationalError as error:
        raise CommandError(f"The database does not answer: {str(error).strip()}.") from error
