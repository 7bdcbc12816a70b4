"""`manage.py hopper_tree`: draw the tree of instances, as in `hopper instance tree`."""

from __future__ import annotations

from hopper.commands import SharedCommand


class Command(SharedCommand):
    name = "tree"
