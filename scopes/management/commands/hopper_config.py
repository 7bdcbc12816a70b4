"""`manage.py hopper_config`: where settings come from, as in `hopper config`."""

from __future__ import annotations

from hopper.commands import SharedCommand


class Command(SharedCommand):
    name = "config"
