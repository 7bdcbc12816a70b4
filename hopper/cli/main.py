"""The entry of `hopper`: parse, carry out, show; exit 0 done, 1 refused or failed, 2 usage."""

from __future__ import annotations

import errno
import gc
import io
import os
import sys
import time
from argparse import Namespace
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any, TextIO

from hopper.cli import target
from hopper.cli.arguments import settle
from hopper.cli.parser import build_parser
from hopper.cli.render.screen import Screen
from hopper.cli.target import chosen
from hopper.cli.transport import NOT_HOPPER, Client, CliError, Reply, Transport, Unreachable
from hopper.masks import masked
from hopper.variables import mistyped

WATCH_SECONDS = 2


class LateTransport:
    """Opens the connection to the server or store at the first call. Some commands make no call."""

    def __init__(self, args: Namespace) -> None:
        self._args = args
        self._opened: Transport | None = None

    def request(self, method: str, path: str, **options: Any) -> Reply:
        """Return the reply to one call."""
        if self._opened is not None:
            return self._opened.request(method, path, **options)
        with loading():
            self._opened = target.transport(self._args)
            return self._opened.request(method, path, **options)


@contextmanager
def loading() -> Iterator[None]:
    """Collect no garbage while Django loads. The loaded code stays to the end of the process.

    Collecting it again and again, and once more at the end, costs a third of a short command.
    """
    if "django" in sys.modules:
        yield
        return
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()


def main(arguments: Sequence[str] | None = None) -> int:
    """Carry out one command line and return its exit code."""
    _open_streams()
    words = _given() if arguments is None else list(arguments)
    if not words or words[0] == "help":
        words = [*words[1:], "--help"]
    return run(build_parser().parse_args(words))


def _given() -> list[str]:
    """Return the words of the command line. A locale without UTF-8 leaves its bytes unread."""
    words = []
    for word in sys.argv[1:]:
        try:
            words.append(word if word.isprintable() else os.fsencode(word).decode())
        except UnicodeError:
            words.append(word)
    return words


class _Closed(io.StringIO):
    """Stands in for a standard stream that the caller has closed. Every write fails."""

    def write(self, text: str) -> int:
        raise OSError(errno.EBADF, os.strerror(errno.EBADF))


def _open_streams() -> None:
    """Prepare both output streams: any character can be written, and neither stream is missing."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:
            setattr(sys, name, _Closed())
        elif hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")


def run(args: Namespace, transport: Transport | None = None, out: TextIO | None = None) -> int:
    """Carry out parsed arguments and return the exit code."""
    settle(args)
    for words in mistyped(os.environ):
        complain(CliError(words), args, "Warning")
    screen = Screen(out or sys.stdout, json=args.json, quiet=args.quiet, color=args.color)
    try:
        carry_out(args, Client(transport or LateTransport(args)), screen)
    except CliError as error:
        complain(error, args)
        return error.exit_code
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        _drop_output()
        return 1
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        if (server := chosen(args).server) is None:
            raise
        words = f"The answer of {server} does not have the form of Hopper's answers."
        strange = Unreachable(words, hint=NOT_HOPPER)
        strange.__cause__ = error
        complain(strange, args)
        return 1
    return 0


def carry_out(args: Namespace, client: Client, screen: Screen) -> None:
    """Carry out the command and show the result, once or repeatedly with --watch."""
    while True:
        data = args.handler(args, client)
        if getattr(args, "watch", False) and screen.tty:
            screen.out.write("\x1b[2J\x1b[H")
        try:
            show(data, args, screen)
            screen.out.flush()
        except BrokenPipeError:
            raise
        except OSError as error:
            _drop_output()
            # The command has been carried out. Its exit code must not be lost with the output.
            with suppress(OSError):
                show(data, args, Screen(sys.stderr, json=screen.json, quiet=screen.quiet))
            raise CliError(f"The output cannot be written: {error.strerror}.") from error
        if not getattr(args, "watch", False):
            return
        time.sleep(WATCH_SECONDS)


def show(data: Any, args: Namespace, screen: Screen) -> None:
    """Write the result of a command, as JSON or by its own `show`."""
    if screen.json and data is not None:
        screen.data(data)
    else:
        args.show(data, args, screen)


def _drop_output() -> None:
    """Discard the buffered output: Python would fail on it at exit."""
    with suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def complain(error: CliError, args: Namespace, kind: str = "Error") -> None:
    """Write the error on stderr, field by field, with the allowed values."""
    screen = Screen(sys.stderr)
    first, *rest = error.lines()
    with suppress(OSError):
        screen.line(masked(f"{kind}: {first}"))
        screen.lines(masked(line) for line in rest)
        if args.verbose and error.__cause__ is not None:
            screen.line(masked(f"  cause: {error.__cause__!r}"))


if __name__ == "__main__":
    sys.exit(main())
