"""`manage.py hopper_route`: where tasks would go and why, as in `hopper route`."""

from __future__ import annotations

from hopper.commands import SharedCommand


class Command(SharedCommand):
    name = "route"
