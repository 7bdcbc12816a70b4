"""The tree of commands, built once for `hopper` and for `manage.py hopper_*`."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module

from hopper.cli.arguments import HopperParser

GROUPS = {
    "task": ("tasks.add_commands", "create, find, read and change tasks"),
    "instance": ("instances.add_commands", "the tree of instances"),
    "project": ("instances.add_project_commands", "projects: instances of that scope"),
    "delegation": ("delegations.add_commands", "offers and their outcomes"),
    "lesson": ("lessons.add_commands", "lessons of tasks"),
    "webhook": ("webhooks.add_commands", "send events to other programs"),
    "run": ("runs.add_commands", "an orchestration for a run"),
    "attention": ("questions.attention_options", "what waits for a person"),
    "worker": ("worker.add_options", "let a command do the tasks of an instance"),
    "route": ("routing.add_route_commands", "where a task would go, and why"),
    "rules": ("routing.add_rules_commands", "the routing rules"),
    "me": ("local_commands.me_options", "who you are to the server, and what you may do"),
    "config": ("local_commands.add_config_commands", "where commands go to"),
    "setup": ("setup.add_options", "set an agent up to work with Hopper"),
    "prime": ("sessions.prime_options", "what an agent should know now"),
    "resume": ("sessions.resume_options", "take up the task that a worker held or asked about"),
    "hook": ("sessions.hook_commands", "what the hooks of agents call"),
    "mcp": ("local_commands.mcp_options", "serve tools to agents"),
    "completion": ("completion.add_options", "let a shell complete the commands"),
    "add": ("tasks.short_add", "short for task add"),
    "ls": ("tasks.short_list", "short for task list"),
}
PARTS = {
    "tree": ("instances.tree_options", "draw the tree of instances"),
    "status": ("instances.status_options", "show the dashboard"),
}
"""Commands of a group that are also management commands of their own."""

DATABASE_COMMANDS = {
    "serve": "serve a team: REST, pages, admin and the sweep",
    "migrate": "bring the database to the newest schema",
    "user": "create and list the accounts of the admin site",
    "check": "prove the invariants on the database",
    "sweep": "do what is due: expired leases and offers, tasks to be placed",
    "backup": "copy the whole database to one file",
    "restore": "replace the database by a backup, and prove the invariants",
    "export": "write instances and tasks as lines of JSON",
    "import": "read instances and tasks from lines of JSON",
    "archive": "move old ended tasks to files",
    "demo": "load and work off the example hierarchy",
    "token": "create, list and revoke tokens",
}


def build_parser() -> HopperParser:
    """Return the parser of the whole command line."""
    root = HopperParser(
        prog="hopper",
        description="A hierarchical task queue for people and AI agents.",
        epilog="Without --server or HOPPER_URL commands work on the store of this machine.",
    )
    groups = root.add_subparsers(metavar="GROUP", required=True, parser_class=HopperParser)
    for name, (place, help) in GROUPS.items():
        groups.add_parser(name, help=help, description=help, fill=filler(place))
    for name, help in DATABASE_COMMANDS.items():
        fill = filler("local_commands.database_command", name)
        groups.add_parser(name, help=help, description=help, fill=fill)
    return root


def filler(place: str, *more: str) -> Callable[[HopperParser], None]:
    """Return the function that fills a group's parser. Only the group of the command is loaded.

    `place` names a function of the handlers.
    """
    module, function = place.split(".")

    def fill(parser: HopperParser) -> None:
        getattr(import_module(f"hopper.cli.handlers.{module}"), function)(parser, *more)

    return fill
