"""`hopper setup`: the files of an agent, so that it works with Hopper from its next start on."""

from __future__ import annotations

import os
import shutil
import sys
from argparse import Namespace
from pathlib import Path
from typing import Any

from hopper.cli import target
from hopper.cli.arguments import YES, HopperParser, bind, confirmed, flag, one_of, option
from hopper.cli.render.screen import Screen
from hopper.cli.setup.agents import AGENTS, Command
from hopper.cli.setup.edits import Files
from hopper.cli.transport import Client, CliError


def add_options(parser: HopperParser) -> None:
    """Make a parser the command `setup`."""
    kind = one_of(
        flag("--check", help="only say whether it is set up"),
        flag("--remove", help="take everything back"),
    )
    bind(parser, setup, show_setup, option("agent", choices=tuple(AGENTS)), kind, YES)


def setup(args: Namespace, client: Client) -> dict[str, Any]:
    """Show what changes in the home folder, ask, and change it. Raises CliError."""
    home = Path.home()
    files = Files(home, _state(args.agent, home), AGENTS[args.agent](_command(args)))
    changes = files.removals() if args.remove else files.additions()
    changes = [change for change in changes if change.before != change.after]
    names = [str(change.path) for change in changes]
    if args.check:
        if names:
            raise CliError(
                f"{args.agent} is not set up: {', '.join(names)}.",
                hint=f"hopper setup {args.agent}",
            )
        return {"agent": args.agent, "state": "set up", "files": names}
    for change in changes:
        print(change.diff(), file=sys.stderr)
    if names:
        confirmed(args, "Change these files?")
    if args.remove:
        files.remove(changes)
        return {"agent": args.agent, "state": "removed", "files": names}
    if names:
        files.add(changes)
    return {"agent": args.agent, "state": "set up", "files": names}


def show_setup(data: dict[str, Any], args: Any, screen: Screen) -> None:
    """List the changed files, and name the command that takes the changes back."""
    screen.lines(data["files"])
    screen.done(f"{data['agent']}: {data['state']}", data["agent"])
    if data["state"] == "set up" and data["files"]:
        remove = f"hopper setup {data['agent']} --remove"
        screen.line(f"Start {data['agent']} again. To take the changes back: {remove}")


def _command(args: Namespace) -> Command:
    """Return how agents start this Hopper, from wherever they look for programs."""
    server = target.chosen(args).server
    words = ("hopper",) if shutil.which("hopper") else (sys.executable, "-m", "hopper.cli.main")
    return Command(words, server)


def _state(agent: str, home: Path) -> Path:
    """Return the file that records what the agent's files were before."""
    given = os.environ.get("XDG_STATE_HOME", "")
    folder = Path(given) if given.startswith(f"{home}/") else home / ".local" / "state"
    return folder / "hopper" / f"setup-{agent}.json"
