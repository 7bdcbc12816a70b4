"""The building blocks of the argparse tree: the parser class and the global options."""

from __future__ import annotations

import argparse
import getpass
import os
import sys
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from hopper import __version__
from hopper.cli.render.screen import Screen
from hopper.cli.transport import Client, CliError, UsageError, at
from hopper.json_values import read_json
from hopper.masks import masked

if TYPE_CHECKING:
    from hopper.task_fields import TaskField

Handler = Callable[[argparse.Namespace, Client], Any]
Show = Callable[[Any, argparse.Namespace, Screen], None]
Option = Callable[[Any], object]
"""Adds an argument to a parser."""

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
    """A parser that accepts the global options in any place.

    With `takes_command` the arguments after `--` are a command line of their own. With
    `takes_rest` unknown arguments are passed on. `fill` adds the arguments on first use.
    """

    def __init__(
        self, *, fill: Callable[[HopperParser], None] | None = None, **options: Any
    ) -> None:
        super().__init__(**{"allow_abbrev": False, **options})
        self.takes_command = False
        self.takes_rest = False
        self._fill = fill
        self._is_filled = False

    def filled(self) -> HopperParser:
        """Return the parser with all its arguments. A parser that is not used has no options."""
        if not self._is_filled:
            self._is_filled = True
            if self._fill is not None:
                self._fill(self)
            add_global_options(self)
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

    def _check_value(self, action: argparse.Action, value: Any) -> None:
        """Refuse an unknown command, naming those that look like it."""
        known = list(action.choices or ())
        if isinstance(action, argparse._SubParsersAction) and value not in known:
            near = get_close_matches(str(value), known, n=2)
            meant = f"; did you mean {' or '.join(near)}?" if near else ""
            raise argparse.ArgumentError(
                None, f"there is no command {value!r}{meant or '.'} Known: {', '.join(known)}"
            )
        super()._check_value(action, value)

    def error(self, message: str) -> NoReturn:
        self.print_usage(sys.stderr)
        self.exit(2, masked(f"{self.prog}: {message}\n"))


def add_global_options(parser: argparse.ArgumentParser) -> None:
    """Add the options that are accepted before and after the group.

    An option of the command hides a global option of the same name.
    """
    group = parser.add_argument_group("global options")

    def add(*names: str, **options: Any) -> None:
        free = [name for name in names if name not in parser._option_string_actions]
        if free:
            group.add_argument(*free, **options)

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
    """Set the defaults of the global options that were not given."""
    for name, default in GLOBAL_DEFAULTS.items():
        if not hasattr(args, name):
            setattr(args, name, default)
    return args


class Group:
    """Adds the commands of one group to the tree."""

    def __init__(self, parser: argparse.ArgumentParser) -> None:
        self._commands = parser.add_subparsers(
            metavar="COMMAND", required=True, parser_class=HopperParser
        )

    def add(
        self, name: str, handler: Handler, show: Show, help: str, *options: Option, **fixed: Any
    ) -> HopperParser:
        """Add a command with its `handler` and the function that shows the result.

        `options` are the arguments that it takes, `fixed` the values that it always has.
        """
        parser: HopperParser = self._commands.add_parser(name, help=help, description=help)
        return bind(parser, handler, show, *options, **fixed)


def bind(
    parser: HopperParser, handler: Handler, show: Show, *options: Option, **fixed: Any
) -> HopperParser:
    """Make a parser the command of `handler`. Takes the arguments of `Group.add`."""
    parser.set_defaults(handler=handler, show=show, **fixed)
    for add in options:
        add(parser)
    return parser


def option(*names: str, **settings: Any) -> Option:
    """Return an argument of a command. Takes what argparse's `add_argument` takes."""
    return lambda parser: parser.add_argument(*names, **settings)


def flag(*names: str, **settings: Any) -> Option:
    """Return an option without a value. It is false unless given."""
    return option(*names, action="store_true", **settings)


def one_of(*options: Option) -> Option:
    """Return options of which at most one may be given."""

    def add(parser: Any) -> None:
        group = parser.add_mutually_exclusive_group()
        for one in options:
            one(group)

    return add


ID = option("id")
LIMIT = option("--limit", type=int, metavar="N")
PREVIEW = flag("--preview", help="preview the effects, write nothing")
YES = flag("--yes", help="do not ask")
SURE = flag("-f", "--force", "--yes", dest="yes")
LEASE = (
    option("--worker", help="the worker of the lease (default: the one that claimed)"),
    option("--lease-token", metavar="TOKEN", help="else the lease that this session took"),
)
"""The options of a report about a task."""


def on_id(call: Callable[[Client, str], Any], collection: str, *part: str) -> Handler:
    """Return a handler that makes one call of the object whose id is given, or of a part of it."""
    return lambda args, client: call(client, at(collection, args.id, *part))


def field_option(field: TaskField) -> Option:
    """Return the option for a field of a task."""
    help = field.words[0].lower() + field.words[1:].removesuffix(".")
    settings: dict[str, Any] = {"dest": field.name, "help": help, "metavar": field.metavar}
    if field.choices:
        settings |= {"type": str.lower, "choices": field.choices}
    elif field.kind == "whole":
        settings["type"] = int
    elif field.kind == "time":
        settings["type"] = moment
    elif field.kind == "words":
        settings["action"] = "append"
    return option(*field.option.split(), **settings)


def confirmed(args: argparse.Namespace, question: str) -> None:
    """Ask for confirmation on a terminal. Raises CliError for any answer but yes."""
    if args.yes or not args.interactive or args.json or not sys.stdin.isatty():
        return
    sys.stderr.write(f"{question} [y/N] ")
    sys.stderr.flush()
    if sys.stdin.readline().strip().lower() not in ("y", "yes"):
        raise CliError("Nothing was changed.")


def text_of(path: str) -> str:
    """Return the text of a file (`-` is standard input) with its line ends unchanged."""
    try:
        data = sys.stdin.buffer.read() if path == "-" else Path(path).read_bytes()
        return data.decode()
    except OSError as error:
        raise CliError(f"Cannot read {path}: {error.strerror}.") from error
    except UnicodeDecodeError as error:
        raise CliError(f"{path} is not UTF-8 text (byte {error.start}).") from error


TIME_HELP = "such as 2026-12-01, 2026-12-01T08:00 (local time) or 2026-12-01T08:00:00Z"


def moment(text: str) -> str:
    """Return a time as RFC 3339 in UTC. A time without an offset is this machine's local time.

    For a local time, stderr shows the time in UTC.
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
    """Return the JSON object in an argument."""
    try:
        value = read_json(text.encode())
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"not JSON: {error}") from error
    if not isinstance(value, dict):
        raise argparse.ArgumentTypeError("must be a JSON object such as {}")
    return value


def json_list(text: str) -> list[Any]:
    """Return the JSON list in a file. Raises UsageError."""
    try:
        value = read_json(text.encode())
    except ValueError as error:
        raise UsageError(f"not JSON: {error}") from error
    if not isinstance(value, list):
        raise UsageError('must be a JSON list such as [{"title": "..."}]')
    return value


def json_or_text(text: str) -> Any:
    """Return the JSON value of an argument, or {"output": text} if the text is not JSON."""
    try:
        return read_json(text.encode())
    except ValueError:
        return {"output": text}


def user_name() -> str:
    """Return the name of the user of this machine."""
    try:
        return getpass.getuser()
    except (OSError, KeyError):
        return "local"


def worker_name() -> str:
    """Return the name under which this person or agent works."""
    return os.environ.get("HOPPER_WORKER") or user_name()
