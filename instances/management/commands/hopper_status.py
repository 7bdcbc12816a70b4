"""`manage.py hopper_status`: show the dashboard, as in `hopper instance status`."""

from __future__ import annotations

from hopper.commands import SharedCommand


class Command(SharedCommand):
    name = "status"
