"""`hopper worker`: let a command do the tasks of an instance."""

from __future__ import annotations

import os
import shutil
from argparse import Namespace
from pathlib import Path
from typing import Any

from hopper import embedded
from hopper.cli import target
from hopper.cli.arguments import HopperParser, bind, flag, option
from hopper.cli.render.screen import Screen
from hopper.cli.transport import Client, CliError, UsageError
from hopper.cli.worker.process import Orders, Worker
from hopper.cli.worker.wakeup import Wakeup

RESULTS = "results"


def add_options(parser: HopperParser) -> None:
    """Make a parser the command `hopper worker`."""
    parser.takes_command = True
    parser.usage = "hopper worker NAME --instance ID [options] -- COMMAND [ARG ...]"
    bind(
        parser,
        run,
        show_worked,
        option("name"),
        option("--instance", required=True, metavar="ID"),
        option("--capability", action="append", dest="capabilities", metavar="WORD"),
        option("--tag", action="append", dest="tags", metavar="TAG"),
        option("--lease", type=int, dest="lease_seconds", metavar="SECONDS"),
        option("--poll", type=float, default=2.0, metavar="SECONDS", help="between looks for work"),
        option("--max-tasks", type=int, metavar="N", help="end after so many"),
        option("--max-runtime", type=float, metavar="SECONDS", help="end a command after so long"),
        flag("--pass-token", help="let the command have the worker's own token"),
        option(
            "--idle-exit",
            type=float,
            nargs="?",
            const=0.0,
            metavar="SECONDS",
            help="end when there was nothing to do for so long (default: never; bare: at once)",
        ),
    )


def run(args: Namespace, client: Client) -> dict[str, int]:
    """Claim and work until idle, stopped or for ever; return how many tasks ended how."""
    if not args.command:
        raise UsageError("Give the command after --, as in: hopper worker w1 --instance X -- make")
    if shutil.which(args.command[0]) is None:
        raise CliError(f"There is no command '{args.command[0]}'.")
    _open_standard_streams()
    server = target.chosen(args).server
    orders = Orders(
        name=args.name,
        instance=args.instance,
        command=args.command,
        server=server,
        store="" if server else target.database(),
        results=_results(),
        lease_seconds=args.lease_seconds,
        capabilities=args.capabilities,
        tags=args.tags,
        poll=args.poll,
        max_tasks=args.max_tasks,
        max_runtime=args.max_runtime,
        idle_exit=args.idle_exit,
        pass_token=args.pass_token,
    )
    with Wakeup() as wakeup:
        worker = Worker(client, orders, wakeup)
        worker.run()
    return worker.tally


def _results() -> Path:
    """Return the folder of results, made where it is missing. Raises CliError."""
    folder = embedded.find().home / RESULTS
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise CliError(
            f"Results cannot be stored in {folder}: {error.strerror}.", hint="HOPPER_HOME moves it."
        ) from error
    return folder


def _open_standard_streams() -> None:
    """Give closed standard streams a descriptor, so that no other file gets their number."""
    while (descriptor := os.open(os.devnull, os.O_RDWR)) <= 2:
        pass
    os.close(descriptor)


def show_worked(data: dict[str, int], args: Any, screen: Screen) -> None:
    """Sum up what a worker did."""
    screen.line(", ".join(f"{number} {word}" for word, number in data.items()))
