"""`manage.py hopper_tree`: draw the tree of instances, as in `hopper instance tree`."""

from __future__ import annotations

from hopper.cli.handlers import instances
from hopper.commands import SharedCommand


class Command(SharedCommand):
    help = "draw the tree of instances"
    fill = staticmethod(instances.tree_options)
