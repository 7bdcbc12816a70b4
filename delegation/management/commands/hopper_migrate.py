"""`manage.py hopper_migrate`: bring the database to the newest schema."""

from __future__ import annotations

from typing import Any

from hopper.cli.arguments import flag
from hopper.commands import JSON, OperatorCommand
from hopper.upgrades import due_migrations, migrate
from instances.site import replace_key


class Command(OperatorCommand):
    reads_configuration = False
    help = "Bring the database to the newest schema. `hopper serve` does it too."
    examples = """\
  hopper migrate
  hopper migrate --plan    say what would be done"""

    arguments = (
        flag("--plan", help="change nothing"),
        flag(
            "--new-key",
            help="take HOPPER_SECRET_KEY as the key of the site where the old one is lost",
        ),
        JSON,
    )

    def handle(self, *args: Any, **options: Any) -> None:
        due = due_migrations() if options["plan"] else migrate()
        if options["new_key"] and not options["plan"]:
            replace_key()
        verb = "would apply" if options["plan"] else "applied"
        lines = [f"{verb} {name}" for name in due] or ["The schema is the newest."]
        self.answer({"migrations": due, "done": not options["plan"]}, lines)
