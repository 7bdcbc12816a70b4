"""`manage.py hopper_route`: where tasks would go and why, as in `hopper route`."""

from __future__ import annotations

from hopper.cli.handlers import routing
from hopper.commands import SharedCommand


class Command(SharedCommand):
    help = "where a task would go, and why"
    fill = staticmethod(routing.add_route_commands)
