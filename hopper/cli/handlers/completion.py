"""`hopper completion`: the script by which a shell completes commands and options."""

from __future__ import annotations

import argparse

from hopper.cli.arguments import HopperParser, bind, option
from hopper.cli.render.screen import Screen
from hopper.cli.transport import Client


def add_options(parser: HopperParser) -> None:
    """Make a parser the command `completion`."""
    bind(parser, completion, show_script, option("shell", choices=("bash", "zsh", "tcsh")))
    parser.epilog = (
        "bash: hopper completion bash > ~/.local/share/bash-completion/completions/hopper"
    )


def completion(args: argparse.Namespace, client: Client) -> str:
    """Return the script for a shell."""
    # Late: shtab is needed here alone, and the parser loads this module by its name.
    import shtab

    from hopper.cli.parser import build_parser

    return str(shtab.complete(_whole(build_parser()), shell=args.shell))


def show_script(data: str, args: argparse.Namespace, screen: Screen) -> None:
    """Write the script."""
    screen.line(data)


def _whole(parser: HopperParser) -> HopperParser:
    """Return a parser with the arguments of all its commands."""
    for action in parser.filled()._actions:
        if isinstance(action, argparse._SubParsersAction):
            for command in action.choices.values():
                _whole(command)
    return parser
