"""`manage.py hopper_lesson`: what tasks taught, as in `hopper lesson`."""

from __future__ import annotations

from hopper.commands import SharedCommand


class Command(SharedCommand):
    name = "lesson"
