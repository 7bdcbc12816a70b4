"""`manage.py hopper_lesson`: what tasks taught, as in `hopper lesson`."""

from __future__ import annotations

from hopper.cli.handlers import lessons
from hopper.commands import SharedCommand


class Command(SharedCommand):
    help = "what tasks taught"
    fill = staticmethod(lessons.add_commands)
