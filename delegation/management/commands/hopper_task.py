"""`manage.py hopper_task`: manage tasks, as in `hopper task`."""

from __future__ import annotations

from hopper.cli.handlers import tasks
from hopper.commands import SharedCommand


class Command(SharedCommand):
    help = "manage tasks"
    fill = staticmethod(tasks.add_commands)
