"""Rolling: attempts and events point at tasks and instances without foreign keys.

The checks cost a fifth of a claim on PostgreSQL. `hopper check` looks for rows that point at
nothing (I25). SQLite keeps the keys: it would copy the tables, and could use numbers of events twice.
"""

import time

import django.db.models.deletion
from django.db import OperationalError, connection, migrations, models, transaction

TRIES = 300
TABLES = "instances_hopperinstance, instances_task, instances_attempt, instances_event"
KEYS = """SELECT conrelid::regclass::text, quote_ident(conname) FROM pg_constraint
    WHERE contype = 'f' AND connamespace = current_schema()::regnamespace
    AND conrelid::regclass::text IN ('instances_attempt', 'instances_event')"""


def drop_keys(apps, schema_editor):
    """Drop the foreign keys of the history on PostgreSQL."""
    if connection.vendor != "postgresql":
        return
    lock_tables()
    with connection.cursor() as cursor:
        cursor.execute(KEYS)
        for table, name in cursor.fetchall():
            cursor.execute(f"ALTER TABLE {table} DROP CONSTRAINT {name}")


def lock_tables():
    """Lock the tables, while other servers work: give up at once, and try again, for a minute.

    A transaction that holds one lock and waits for another could deadlock with a claim.
    """
    for left in reversed(range(TRIES)):
        try:
            with transaction.atomic(), connection.cursor() as cursor:
                cursor.execute("SELECT set_config('lock_timeout', '100ms', true)")
                cursor.execute(f"LOCK TABLE {TABLES}")
            return
        except OperationalError:
            if not left:
                raise
            time.sleep(0.1)


def add_keys(apps, schema_editor):
    """Add the foreign keys again on PostgreSQL."""
    if connection.vendor != "postgresql":
        return
    for name in ("attempt", "event"):
        model = apps.get_model("instances", name)
        for field in (model._meta.get_field("task"), model._meta.get_field("instance")):
            table, other = model._meta.db_table, field.related_model._meta.db_table
            schema_editor.execute(
                f"ALTER TABLE {table} ADD FOREIGN KEY ({field.column}) REFERENCES {other} (id)"
                " DEFERRABLE INITIALLY DEFERRED"
            )


class Migration(migrations.Migration):
    dependencies = [
        ("instances", "0032_one_live_attempt"),
    ]

    operations = [
        migrations.SeparateDatabaseAndState(
            database_operations=[migrations.RunPython(drop_keys, add_keys)],
            state_operations=[
                migrations.AlterField(
                    model_name="attempt",
                    name="instance",
                    field=models.ForeignKey(
                        db_constraint=False,
                        db_index=False,
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to="instances.hopperinstance",
                    ),
                ),
                migrations.AlterField(
                    model_name="attempt",
                    name="task",
                    field=models.ForeignKey(
                        db_constraint=False,
                        db_index=False,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="attempts",
                        to="instances.task",
                    ),
                ),
                migrations.AlterField(
                    model_name="event",
                    name="instance",
                    field=models.ForeignKey(
                        blank=True,
                        db_constraint=False,
                        db_index=False,
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="events",
                        to="instances.hopperinstance",
                    ),
                ),
                migrations.AlterField(
                    model_name="event",
                    name="task",
                    field=models.ForeignKey(
                        blank=True,
                        db_constraint=False,
                        db_index=False,
                        null=True,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="events",
                        to="instances.task",
                    ),
                ),
            ],
        ),
    ]
