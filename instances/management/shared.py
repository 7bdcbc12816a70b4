"""The management commands that are parts of the tree of `hopper`."""

from __future__ import annotations

import sys
from argparse import SUPPRESS, Namespace
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from django.core.management.base import BaseCommand

from hopper.cli.arguments import HopperParser
from hopper.cli.local import open_transport
from hopper.cli.main import run

if TYPE_CHECKING:
    from collections.abc import Callable


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
