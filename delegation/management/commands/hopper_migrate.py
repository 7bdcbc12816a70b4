"""`manage.py hopper_migrate`: bring the database to the newest schema."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.core.management import call_command
from django.db import connection
from django.db.migrations.executor import MigrationExecutor

from hopper.commands import OperatorCommand
from instances.site import replace_key

if TYPE_CHECKING:
    from django.core.management.base import CommandParser


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
        executor = MigrationExecutor(connection)
        plan = executor.migration_plan(executor.loader.graph.leaf_nodes())
        due = [f"{migration.app_label}.{migration.name}" for migration, _ in plan]
        if not options["plan"]:
            # Also without a due migration: it stores the settings of a session for this role.
            call_command("migrate", verbosity=0, interactive=False)
            if options["new_key"]:
                replace_key()
        if options["json"]:
            self.say_json({"migrations": due, "done": not options["plan"]})
            return
        for name in due:
            self.say(f"{'would apply' if options['plan'] else 'applied'} {name}")
        if not due:
            self.say("The schema is the newest.")
