"""`manage.py hopper_rules`: the routing rules, as in `hopper rules`."""

from __future__ import annotations

from hopper.commands import SharedCommand


class Command(SharedCommand):
    name = "rules"
