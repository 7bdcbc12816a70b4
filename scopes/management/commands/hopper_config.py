"""`manage.py hopper_config`: where settings come from, as in `hopper config`."""

from __future__ import annotations

from hopper.cli.handlers import operators
from instances.management.shared import SharedCommand


class Command(SharedCommand):
    help = "where commands go to, and where settings come from"
    fill = staticmethod(operators.add_config_commands)
