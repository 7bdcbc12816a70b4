"""`manage.py hopper_restore`: replace the database by a backup, and prove the invariants."""

from __future__ import annotations

import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

from django.contrib.auth import get_user_model
from django.core.management.base import CommandError
from django.db import connection
from django.db.migrations.loader import MigrationLoader

from delegation.audit import INVARIANTS, audit
from hopper.backup import restore
from hopper.cli.arguments import flag, option
from hopper.commands import JSON, OperatorCommand
from hopper.counts import counted
from hopper.upgrades import migrate
from instances.models import AgentToken, HopperInstance, Task


class Command(OperatorCommand):
    reads_configuration = False
    prepares_store = False
    help = (
        "Replace the database by a backup, bring it to the newest schema, and prove the "
        "invariants. Stop servers and sweepers first. Exit 0: sound, 1: refused or broken."
    )
    examples = """\
  hopper restore nightly.backup                         into an empty database
  hopper restore --replace nightly.backup               what the database holds is lost
  hopper restore --database new/hopper.db nightly.backup"""

    arguments = (
        option("file", type=Path, metavar="FILE", help="written by `hopper backup`"),
        flag("--replace", help="also if the database is not empty"),
        JSON,
    )

    def handle(self, *args: Any, **options: Any) -> None:
        if not options["replace"] and (held := _held()):
            raise CommandError(
                f"The database holds {held}. Name an empty one with --database, or give "
                "--replace: what the database holds now is lost then."
            )
        restore(options["file"])
        if newer := _newer():
            raise CommandError(
                f"A newer release made this backup ({newer}). It is restored. Install that "
                "release, then run `hopper migrate` and `hopper check`."
            )
        migrate()
        findings = audit()
        broken = [asdict(found) for found in findings]
        lines = (
            f"Restored {options['file']}: {_held() or 'nothing'}.",
            *(f"✗ {found.invariant} {found.object}: {found.detail}" for found in findings),
            f"{counted(len(findings), 'finding')} in {len(INVARIANTS)} invariants.",
        )
        answer = {"file": str(options["file"]), "sound": not broken, "findings": broken}
        self.answer(answer, lines)
        if findings:
            sys.exit(1)


def _held() -> str:
    """Return in words what people have put into the database, "" for nothing."""
    tables = set(connection.introspection.table_names())
    counts = {
        str(model._meta.verbose_name_plural): model._default_manager.count()
        for model in (HopperInstance, Task, AgentToken, get_user_model())
        if model._meta.db_table in tables
    }
    return ", ".join(f"{number} {name}" for name, number in counts.items() if number)


def _newer() -> str:
    """Return the first migration of the database that this release does not have, or ""."""
    loader = MigrationLoader(connection)
    latest: dict[str, str] = {}
    for app, name in loader.disk_migrations:
        latest[app] = max(name, latest.get(app, ""))
    unknown = set(loader.applied_migrations) - set(loader.disk_migrations)
    # Names that were squashed into one are older than the latest.
    newer = sorted((app, name) for app, name in unknown if name[:4] > latest.get(app, "9")[:4])
    return ".".join(newer[0]) if newer else ""
