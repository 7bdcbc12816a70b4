"""The target of a command: a server, or the store of this machine."""

from __future__ import annotations

import os
from argparse import Namespace
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote

from hopper.cli.transport import PREFIX, CliError, Transport


@dataclass(frozen=True)
class Target:
    """A server and its token. No server means the database of this machine."""

    server: str | None
    token: str | None


def chosen(args: Namespace) -> Target:
    """Return the target. Options win over the environment, which wins over the file."""
    file = from_file(args.config) if args.config else {}
    token = _one_word(args.token or os.environ.get("HOPPER_TOKEN") or file.get("token"))
    if args.local:
        return Target(None, None)
    if args.server is not None and not args.server.strip():
        raise CliError("--server is empty.", hint="Name the address of a server, or give --local.")
    server = (args.server or os.environ.get("HOPPER_URL") or file.get("server") or "").strip()
    # Leases and results are kept under this address: one server has one.
    return Target(server.rstrip("/").removesuffix(PREFIX) or server or None, token)


def _one_word(token: str | None) -> str | None:
    """Return the token without surrounding spaces. Raises CliError for a malformed token.

    The error does not show the token, which is a secret.
    """
    token = (token or "").strip()
    if not token.isascii() or not token.isprintable() or " " in token:
        raise CliError(
            "The token is not one word of printable characters.",
            hint="Look for a line end or a space in --token, HOPPER_TOKEN or the file.",
        )
    return token or None


def require_local(args: Namespace, command: str) -> None:
    """Raise CliError if a server is chosen for a command that works on the database itself."""
    server = chosen(args).server
    if server:
        raise CliError(
            f"`{command}` works on the database of this machine, never through {server}.",
            hint=f"On the server's machine, with its HOPPER_DATABASE_URL, or for the store of this "
            f"machine: `hopper --local {command}`.",
        )


def from_file(path: str) -> dict[str, str]:
    """Return `server` and `token` of a TOML file."""
    # Late, here and below: most commands read no file and get no target.
    import tomllib

    try:
        found = tomllib.loads(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise CliError(f"Cannot read {path}: {error.strerror}.") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise CliError(f"{path} is not TOML: {error}.") from error
    unknown = found.keys() - {"server", "token"}
    if unknown or not all(isinstance(value, str) for value in found.values()):
        raise CliError(f"{path}: only `server` and `token`, each a text, may stand there.")
    return found


def database_url(text: str) -> str:
    """Return the URL of a database. A path becomes the URL of an SQLite file."""
    return text if "://" in text else f"sqlite:///{Path(text).expanduser().resolve()}"


def require_file(url: str) -> None:
    """Raise CliError if the URL names a file of SQLite that is not there."""
    scheme, _, path = url.partition(":///")
    file = Path(unquote(path.partition("?")[0]))
    if scheme == "sqlite" and not file.exists():
        raise CliError(
            f"There is no database at {file}.",
            hint=f"Make it first: `hopper migrate --database {file}`.",
        )


def database() -> str:
    """Return the database of a command without a server, in words."""
    from hopper import embedded

    url = os.environ.get("HOPPER_DATABASE_URL")
    return "HOPPER_DATABASE_URL" if url else str(embedded.find().database)


def transport(args: Namespace) -> Transport:
    """Return the transport to the target of the command."""
    target = chosen(args)
    if target.server:
        # Late, because urllib3 alone takes as long to load as all the rest.
        from hopper.cli.http import HttpTransport

        return HttpTransport(
            target.server, target.token, lease=os.environ.get("HOPPER_LEASE_TOKEN")
        )
    # Late, because it loads Django.
    from hopper.cli.local import open_transport

    return open_transport()
