"""The page of commands, made from the parser: `python -m tests.operators.commands_page`."""

from __future__ import annotations

import argparse
from pathlib import Path

from hopper.cli.arguments import HopperParser
from hopper.cli.parser import GROUPS, build_parser

PAGE = Path(__file__).resolve().parents[2] / "docs" / "reference" / "cli.md"

HEAD = """\
# The command line

One tree of commands, three ways in, with the same arguments, output and exit codes:

- `hopper …` with `--server URL` or `HOPPER_URL`: over HTTP, with `--token` or `HOPPER_TOKEN`;
- `hopper …` without: on the store of this machine, no server needed;
- `manage.py hopper_tree`, `hopper_status`, `hopper_instance …`, `hopper_task …`,
  `hopper_delegation …`, `hopper_lesson …`, `hopper_route …`, `hopper_rules …`, `hopper_config …`:
  on the configured database.

Exit codes: 0 done, 1 refused or failed (the message names the field, the state and what is
allowed), 2 usage. `--json` prints the bare object or array and nothing else on standard output,
without a hidden limit; progress and warnings go to standard error. Text is printed as it was given:
nothing is wrapped or cut when standard output is no terminal.

Status words are open, in_progress, blocked, completed, cancelled, failed; the server's words
(pending, claimed, done) are understood too. In JSON `status` is the former, `server_status` the
latter.

The global options come before or after the group: `--json`, `--quiet`, `--local`, `--server URL`,
`--token TOKEN`, `--config FILE`, `--verbose`, `--no-color`, `--non-interactive`, `--version`.

This page is made from the parser; to write it anew:
`.venv/bin/python -m tests.operators.commands_page`."""

TAIL = """\
## Operators

These work on the database, never through a server; `manage.py hopper_check` and so on are the same.
`--database URL` (or the path of an SQLite file) names another database.

| command | what it does |
| --- | --- |
| `hopper serve [--host 127.0.0.1] [--port 8000] [--workers 2] [--threads 8]` | serve a team |
| `hopper migrate [--plan] [--new-key] [--json]` | bring the database to the newest schema |
| `hopper user create NAME`, `hopper user password NAME` | make an account; set its password |
| `hopper user list` | list the accounts |
| `hopper backup FILE [--replace] [--json]` | copy the whole database to one file, at one moment |
| `hopper restore FILE [--replace] [--json]` | replace the database by a backup, and check it |
| `hopper export FILE [--replace] [--json]` | write instances and tasks as lines of JSON |
| `hopper import FILE [--check] [--json]` | read them: all or nothing, each id once |
| `hopper archive [--preview] [--list] [--task ID] [--json]` | move old ended tasks to files |
| `hopper check [I3 …] [--since last] [--fix] [--json]` | prove the invariants (exit 1: broken) |
| `hopper check --archive FILE …` | prove the invariants on files of the archive |
| `hopper sweep [--loop] [--interval 10] [--json]` | do what is due, once or until SIGTERM |
| `hopper route replay [--last 1000] [--task ID] [--candidate PATH] [--json]` | decide again |
| `hopper token create NAME [--instance ID] [--role ROLE] [--expires 7d]` | make a token |
| `hopper token list`, `hopper token revoke NAME` | list the tokens; end one |
| `hopper demo` | build the example and work it off |"""


def page() -> str:
    """Return the text of the page."""
    root = _commands(build_parser())
    parts = [HEAD]
    for group, (_, help) in GROUPS.items():
        parser = root[group]
        below = _commands(parser)
        rows = [
            f"| `{_usage(f'hopper {group} {name}', one)}` | {one.description} |"
            for name, one in below.items()
        ] or [f"| `{_usage(f'hopper {group}', parser)}` | {help} |"]
        parts.append(f"## {group}\n\n{help.capitalize()}.\n\n" + "\n".join([*_HEADINGS, *rows]))
    return "\n\n".join([*parts, TAIL]) + "\n"


_HEADINGS = ("| command | what it does |", "| --- | --- |")


def _commands(parser: HopperParser) -> dict[str, HopperParser]:
    for action in parser.filled()._actions:
        if isinstance(action, argparse._SubParsersAction):
            return dict(action.choices)
    return {}


def _usage(prog: str, parser: argparse.ArgumentParser) -> str:
    own = [action for action in parser._actions if action.dest not in _GLOBAL]
    words = [_word(action) for action in sorted(own, key=lambda one: bool(one.option_strings))]
    if getattr(parser, "takes_command", False):
        words.append("-- COMMAND …")
    return " ".join([prog, *words]).replace("|", "\\|")


_GLOBAL = {
    "help", "json", "quiet", "local", "server", "token", "config", "verbose", "color",
    "interactive", "version",
}  # fmt: skip


def _word(action: argparse.Action) -> str:
    value = str(action.metavar or action.dest.upper())
    if action.choices and not action.metavar:
        value = "{" + ",".join(str(choice) for choice in action.choices) + "}"
    if not action.option_strings:
        many = action.nargs in ("*", "+")
        value = value.upper()
        text = f"{value} …" if many else value
        return f"[{text}]" if action.nargs in ("?", "*") else text
    name = max(action.option_strings, key=len)
    takes_value = action.nargs != 0
    text = name
    if takes_value:
        text = f"{name} [{value}]" if action.nargs == "?" else f"{name} {value}"
    return text if action.required else f"[{text}]"


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
