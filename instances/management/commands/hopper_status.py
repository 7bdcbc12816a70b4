"""`manage.py hopper_status`: show the dashboard, as in `hopper instance status`."""

from __future__ import annotations

from hopper.cli.handlers import instances
from hopper.cli.local import SharedCommand


class Command(SharedCommand):
    help = "show the dashboard"
    fill = instances.status_options
