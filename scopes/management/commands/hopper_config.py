"""`manage.py hopper_config`: where settings come from, as in `hopper config`."""

from __future__ import annotations

from hopper.cli.handlers import local_commands
from hopper.commands import SharedCommand


class Command(SharedCommand):
    help = "where commands go to, and where settings come from"
    fill = staticmethod(local_commands.add_config_commands)
