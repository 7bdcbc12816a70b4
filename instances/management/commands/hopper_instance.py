"""`manage.py hopper_instance`: manage instances, as in `hopper instance`."""

from __future__ import annotations

from hopper.commands import SharedCommand


class Command(SharedCommand):
    name = "instance"
