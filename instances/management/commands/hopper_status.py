"""`manage.py hopper_status`: show the dashboard, as in `hopper instance status`."""

from __future__ import annotations

from hopper.cli.handlers import instances
from hopper.commands import SharedCommand


class Command(SharedCommand):
    help = "show the dashboard"
    fill = staticmethod(instances.status_options)
