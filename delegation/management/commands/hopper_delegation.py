"""`manage.py hopper_delegation`: manage delegations, as in `hopper delegation`."""

from __future__ import annotations

from hopper.commands import SharedCommand


class Command(SharedCommand):
    name = "delegation"
