"""The building blocks of the argparse tree: the parser class and the global options."""

from __future__ import annotations

import argparse
import getpass
import json
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from hopper import __version__
from hopper.cli.transport import CliError, UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from hopper.cli.render.screen import Screen
    from hopper.cli.transport import Client
    from hopper.task_fields import TaskField

    Handler = Callable[[argparse.Namespace, Client], Any]
    Show = Callable[[Any, argparse.Namespace, Screen], None]

GLOBAL_DEFAULTS: dict[str, Any] = {
    "json": False,
    "quiet": False,
    "local": False,
    "server": None,
    "token": None,
    "config": None,
    "verbose": False,
    "color": True,
    "interactive": True,
}


class HopperParser(argparse.ArgumentParser):
    """A parser that knows the global options, wherever they stand.

    With `takes_command` everything after `--` is a command line of its own; with `takes_rest`
    whatever the parser does not know is handed on. `fill` adds what it knows when it is needed.
    """

    def __init__(
        self, *, fill: Callable[[HopperParser], None] | None = None, **options: Any
    ) -> None:
        # `resolve`: where a command has an option of a global one's name, the command's wins.
        super().__init__(**{"allow_abbrev": False, "conflict_handler": "resolve", **options})
        self.takes_command = False
        self.takes_rest = False
        self._fill = fill
        add_global_options(self)

    def filled(self) -> HopperParser:
        """Return the parser with all that it knows."""
        fill, self._fill = self._fill, None
        if fill is not None:
            fill(self)
        return self

    def parse_known_args(  # type: ignore[override]
        self, args: Sequence[str] | None = None, namespace: Any = None
    ) -> tuple[argparse.Namespace, list[str]]:
        self.filled()
        words = list(args or ())
        command: list[str] = []
        if self.takes_command and "--" in words:
            cut = words.index("--")
            words, command = words[:cut], words[cut + 1 :]
        found, rest = super().parse_known_args(words, namespace)
        if self.takes_command:
            found.command = command
        if self.takes_rest:
            found.rest, rest = rest, []
        return found, rest

    def error(self, message: str) -> NoReturn:
        self.print_usage(sys.stderr)
        self.exit(2, f"{self.prog}: {message}\n")


def add_global_options(parser: argparse.ArgumentParser) -> None:
    """Add the options that are accepted before the group and after it."""
    group = parser.add_argument_group("global options")
    add = group.add_argument
    absent = argparse.SUPPRESS
    add("--json", action="store_true", default=absent, help="print the bare object or array")
    add("--quiet", "-q", action="store_true", default=absent, help="print the id alone")
    add("--local", action="store_true", default=absent, help="no server: the embedded store")
    add("--server", metavar="URL", default=absent, help="the server (else HOPPER_URL)")
    add("--token", default=absent, help="the token (else HOPPER_TOKEN)")
    add("--config", metavar="FILE", default=absent, help="TOML file with server and token")
    add("--verbose", action="store_true", default=absent, help="say more on stderr")
    add("--no-color", dest="color", action="store_false", default=absent, help="no colours")
    add(
        "--non-interactive",
        dest="interactive",
        action="store_false",
        default=absent,
        help="never ask anything",
    )
    add("--version", action="version", version=f"hopper {__version__}")


def settle(args: argparse.Namespace) -> argparse.Namespace:
    """Give the global options that were not given their defaults."""
    for name, default in GLOBAL_DEFAULTS.items():
        if not hasattr(args, name):
            setattr(args, name, default)
    return args


class Group:
    """The commands of one group, as they are added to the tree."""

    def __init__(self, parser: argparse.ArgumentParser) -> None:
        self._commands = parser.add_subparsers(
            metavar="COMMAND", required=True, parser_class=HopperParser
        )

    def add(self, name: str, handler: Handler, show: Show, help: str) -> HopperParser:
        """Add a command: what it does (`handler`) and how the result is shown."""
        parser: HopperParser = self._commands.add_parser(name, help=help, description=help)
        return bind(parser, handler, show)


def bind(parser: HopperParser, handler: Handler, show: Show) -> HopperParser:
    """Let a parser's command be done by `handler` and shown by `show`."""
    parser.set_defaults(handler=handler, show=show)
    return parser


def add_field(parser: Any, field: TaskField) -> None:
    """Add the option of a field of a task to a parser."""
    help = field.words[0].lower() + field.words[1:].removesuffix(".")
    options: dict[str, Any] = {"dest": field.name, "help": help, "metavar": field.metavar}
    if field.choices:
        options |= {"type": str.lower, "choices": field.choices}
    elif field.kind == "whole":
        options["type"] = int
    elif field.kind == "time":
        options["type"] = moment
    elif field.kind == "words":
        options["action"] = "append"
    parser.add_argument(*field.option.split(), **options)


def confirmed(args: argparse.Namespace, question: str) -> None:
    """Ask on a terminal before something destructive; raise CliError on anything but yes."""
    if args.yes or not args.interactive or args.json or not sys.stdin.isatty():
        return
    sys.stderr.write(f"{question} [y/N] ")
    sys.stderr.flush()
    if sys.stdin.readline().strip().lower() not in ("y", "yes"):
        raise CliError("Nothing was changed.")


def text_of(path: str) -> str:
    """Return the text of a file (`-` is standard input), line ends as they are."""
    try:
        data = sys.stdin.buffer.read() if path == "-" else Path(path).read_bytes()
        return data.decode()
    except OSError as error:
        raise CliError(f"Cannot read {path}: {error.strerror}.") from error
    except UnicodeDecodeError as error:
        raise CliError(f"{path} is not UTF-8 text (byte {error.start}).") from error


TIME_HELP = "such as 2026-12-01, 2026-12-01T08:00 (local time) or 2026-12-01T08:00:00Z"


def moment(text: str) -> str:
    """Return a time as RFC 3339 in UTC; a time without an offset is this machine's local time.

    A local time is told on stderr with the UTC that was made of it.
    """
    try:
        given = datetime.fromisoformat(text.strip().upper())
        found = given.astimezone(UTC).isoformat().replace("+00:00", "Z")
    except (ValueError, OverflowError):
        raise argparse.ArgumentTypeError(f"{text!r} is no time: write it {TIME_HELP}") from None
    if given.tzinfo is None:
        print(f"{text} is taken as local time: {found}", file=sys.stderr)
    return found


def json_object(text: str) -> dict[str, Any]:
    """Return the JSON object that an argument holds."""
    try:
        value = json.loads(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"not JSON: {error}") from error
    if not isinstance(value, dict):
        raise argparse.ArgumentTypeError("must be a JSON object such as {}")
    return value


def json_list(text: str) -> list[Any]:
    """Return the JSON list that a file holds. Raises UsageError."""
    try:
        value = json.loads(text)
    except ValueError as error:
        raise UsageError(f"not JSON: {error}") from error
    if not isinstance(value, list):
        raise UsageError('must be a JSON list such as [{"title": "..."}]')
    return value


def json_or_text(text: str) -> Any:
    """Return the JSON that an argument holds, or {"output": text} when it is none."""
    try:
        return json.loads(text)
    except ValueError:
        return {"output": text}


def user_name() -> str:
    """Return the name of the person at this machine."""
    try:
        return getpass.getuser()
    except (OSError, KeyError):
        return "local"
