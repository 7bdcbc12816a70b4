"""`manage.py hopper_task`: manage tasks, as in `hopper task`."""

from __future__ import annotations

from hopper.commands import SharedCommand


class Command(SharedCommand):
    name = "task"
