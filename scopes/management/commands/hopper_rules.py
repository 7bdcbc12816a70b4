"""`manage.py hopper_rules`: the routing rules, as in `hopper rules`."""

from __future__ import annotations

from hopper.cli.handlers import routing
from hopper.commands import SharedCommand


class Command(SharedCommand):
    help = "the routing rules"
    fill = staticmethod(routing.add_rules_commands)
