"""The commands on the database itself (`hopper serve`, `check`, ...), `config` and `mcp`."""

from __future__ import annotations

import os
from argparse import ArgumentParser, Namespace
from typing import Any

from hopper.cli import target
from hopper.cli.arguments import Group, HopperParser, bind, flag, option
from hopper.cli.render.screen import Screen, show_any
from hopper.cli.transport import Client, CliError, at, in_words

ARGUMENTS = {
    "serve": "[--host ADDRESS] [--port N] [--workers N] [--threads N]",
    "migrate": "[--plan] [--new-key] [--json]",
    "user": "create NAME [--password-stdin], password NAME [--password-stdin], list",
    "check": "[I3 ...] [--since last|AGE|TIME] [--archive FILE ...] [--fix] [--json]",
    "archive": "[--preview] [--list] [--task ID] [--json]",
    "sweep": "[--loop] [--interval SECONDS] [--json]",
    "backup": "FILE [--replace] [--json]",
    "restore": "FILE [--replace] [--json]",
    "export": "FILE [--replace] [--json]",
    "import": "FILE [--check] [--json]",
    "token": "create NAME [--instance ID] [--role ROLE] [--expires PERIOD], list, revoke NAME",
    "replay": "[--last N] [--task ID] [--candidate PATH] [--json]",
}
"""The arguments that the management commands themselves parse, for the help."""


READS_WHAT_IS_THERE = {"archive", "backup", "check", "export", "replay", "sweep"}
"""The commands that have nothing to do in a database that they would first have to make."""


def database_command(parser: HopperParser, name: str) -> None:
    """Make a parser pass its arguments to the management command `hopper_<name>`."""
    database = option("--database", metavar="URL", help="else HOPPER_DATABASE_URL or the store")
    on_database(bind(parser, call, show_any, database), name)


def on_database(parser: HopperParser, name: str) -> None:
    """Make a parser with the handler `call` pass unknown arguments to `hopper_<name>`."""
    parser.set_defaults(management=f"hopper_{name}")
    parser.takes_rest = True
    if name in ARGUMENTS:
        parser.epilog = f"Arguments: {ARGUMENTS[name]}"


def call(args: Namespace, client: Client) -> None:
    """Run a management command on the database. The command writes its own output."""
    name = args.management.removeprefix("hopper_")
    target.require_local(args, "route replay" if name == "replay" else name)
    rest = [*args.rest, *(["--json"] if args.json else [])]
    if getattr(args, "database", None):
        os.environ["HOPPER_DATABASE_URL"] = target.database_url(args.database)
    if name in READS_WHAT_IS_THERE:
        target.require_file(os.environ.get("HOPPER_DATABASE_URL", ""))
    # Late, because it loads Django.
    from hopper.cli import local

    local.call(args.management, rest)


def add_config_commands(parser: ArgumentParser) -> None:
    """Add the commands of `config`."""
    add = Group(parser).add
    words = "its settings, each with where it comes from"
    instance = option("--instance", metavar="ID", help=words)
    add("show", config, show_config, "where commands go to, or an instance's settings", instance)
    add("get", config, show_config, "the same as show", instance)


def config(args: Namespace, client: Client) -> dict[str, Any]:
    """Return the target of commands and its source, without secrets; or an instance's settings."""
    if args.instance:
        found: dict[str, Any] = client.get(at("instances", args.instance, "settings"))
        return found
    chosen = target.chosen(args)
    return {
        "transport": "http" if chosen.server else "local",
        "server": chosen.server,
        "token": "set" if chosen.token else "none",
        "store": None if chosen.server else target.database(),
        "config_file": args.config,
    }


def me_options(parser: HopperParser) -> None:
    """Make a parser the command `hopper me`."""
    bind(parser, me, show_me)


def me(args: Namespace, client: Client) -> Any:
    """Return the caller with its grants."""
    return client.get(at("me"))


def show_me(data: dict[str, Any], args: Any, screen: Screen) -> None:
    """Show the caller: name, credential, and a line for each grant."""
    until = f", until {data['expires_at']}" if data["expires_at"] else ""
    screen.line(f"{data['name']} ({data['kind']}{until})")
    for grant in data["grants"]:
        where = f"at {grant['instance_id']} and below" if grant["instance_id"] else "everywhere"
        screen.line(f"{grant['role']} {where}: {'; '.join(grant['may'])}")
    if not data["grants"]:
        screen.line("without any right: an admin gives a grant, or makes a token with a role")


def mcp_options(parser: HopperParser) -> None:
    """Make a parser the command `hopper mcp`."""
    words = "who claims (else HOPPER_WORKER, else a name of its own)"
    worker = option("--worker", metavar="NAME", help=words)
    words = "answer in text alone, for clients that show no structured content"
    bind(parser, mcp, show_any, worker, flag("--text", help=words))


def mcp(args: Namespace, client: Client) -> None:
    """Speak MCP on stdin and stdout until stdin ends; then give back what was claimed."""
    try:
        # Late, because the SDK is an extra and slow to load.
        from hopper.cli.mcp.server import serve
    except ModuleNotFoundError as error:
        raise CliError(
            "The MCP server needs the extra `mcp`.", hint="pip install 'hopper-queue[mcp]'"
        ) from error
    serve(client, args.worker or os.environ.get("HOPPER_WORKER"), text_only=args.text)


def show_config(data: dict[str, Any], args: Any, screen: Screen) -> None:
    """Show the target of commands, or an instance's settings with their sources."""
    if "settings" not in data:
        show_any(data, args, screen)
        return
    screen.table(
        ("Setting", "Value", "From"),
        [
            (key, _value(one["value"]), one["source"] + (f":{one['line']}" if one["line"] else ""))
            for key, one in data["settings"].items()
        ],
    )


def _value(value: Any) -> str:
    return "none" if value == [] else in_words(value)
