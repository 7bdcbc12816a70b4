"""`manage.py hopper_instance`: manage instances, as in `hopper instance`."""

from __future__ import annotations

from hopper.cli.handlers import instances
from hopper.commands import SharedCommand


class Command(SharedCommand):
    help = "manage instances"
    fill = staticmethod(instances.add_commands)
