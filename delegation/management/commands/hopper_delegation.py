"""`manage.py hopper_delegation`: manage delegations, as in `hopper delegation`."""

from __future__ import annotations

from hopper.cli.handlers import delegations
from hopper.commands import SharedCommand


class Command(SharedCommand):
    help = "manage delegations"
    fill = staticmethod(delegations.add_commands)
