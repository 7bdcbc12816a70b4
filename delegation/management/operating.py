"""What the operators' commands share: examples under --help, JSON, a store that is ready."""

from __future__ import annotations

import json
from argparse import RawDescriptionHelpFormatter
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from django.core.management.base import BaseCommand, CommandError
from django.db import OperationalError, ProgrammingError

from hopper.cli.local import prepare
from hopper.configuration import CONFIGURATION
from hopper.yamlconf import BrokenConfig

if TYPE_CHECKING:
    from collections.abc import Iterator

    from django.core.management.base import CommandParser


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
