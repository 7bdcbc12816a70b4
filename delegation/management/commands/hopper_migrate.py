"""`manage.py hopper_migrate`: bring the database to the newest schema."""

from __future__ import annotations

from typing import Any

from django.core.management.base import CommandParser

from hopper.commands import OperatorCommand
from hopper.upgrades import due_migrations, migrate
from instances.site import replace_key


class Command(OperatorCommand):
    reads_configuration = False
    help = "Bring the database to the newest schema. `hopper serve` does it too."
    examples = """\
  hopper migrate
  hopper migrate --plan    say what would be done"""

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--plan", action="store_true", help="change nothing")
        parser.add_argument(
            "--new-key",
            action="store_true",
            help="take HOPPER_SECRET_KEY as the key of the site where the old one is lost",
        )
        parser.add_argument("--json", action="store_true", help="print JSON")

    def handle(self, *args: Any, **options: Any) -> None:
        due = due_migrations() if options["plan"] else migrate()
        if options["new_key"] and not options["plan"]:
            replace_key()
        if options["json"]:
            self.say_json({"migrations": due, "done": not options["plan"]})
            return
        for name in due:
            self.say(f"{'would apply' if options['plan'] else 'applied'} {name}")
        if not due:
            self.say("The schema is the newest.")
