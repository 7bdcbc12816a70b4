"""Rolling: a task's row has fewer indexes, and busy tables are cleaned early.

Writes wait while an index is built.
"""

import django.db.models.deletion
from django.db import connection, migrations, models

from hopper.database import engine

BUSY = ("instances_task", "instances_attempt", "instances_instanceload")


def store_busy(apps, schema_editor, busy=True):
    """Set the storage parameters of the tables whose rows change with every claim."""
    with connection.cursor() as cursor:
        for table in BUSY:
            engine().store_busy(cursor, table, busy=busy)


def store_as_any(apps, schema_editor):
    """Reset them."""
    store_busy(apps, schema_editor, busy=False)


def drop_prefix_indexes(apps, schema_editor):
    """Drop the indexes that only LIKE 'prefix%' could use. Going back does not need them."""
    with connection.cursor() as cursor:
        engine().drop_prefix_indexes(cursor, "instances")


class Migration(migrations.Migration):
    dependencies = [
        ("instances", "0021_site_key"),
    ]

    operations = [
        migrations.RemoveIndex(
            model_name="task",
            name="task_status",
        ),
        migrations.AlterField(
            model_name="attempt",
            name="task",
            field=models.ForeignKey(
                db_index=False,
                on_delete=django.db.models.deletion.CASCADE,
                related_name="attempts",
                to="instances.task",
            ),
        ),
        migrations.AlterField(
            model_name="task",
            name="offered_to",
            field=models.ForeignKey(
                blank=True,
                db_index=False,
                null=True,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="offered_tasks",
                to="instances.hopperinstance",
            ),
        ),
        migrations.AlterField(
            model_name="task",
            name="parent",
            field=models.ForeignKey(
                blank=True,
                db_index=False,
                null=True,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="children",
                to="instances.task",
            ),
        ),
        migrations.AddIndex(
            model_name="task",
            index=models.Index(
                condition=models.Q(("status", "done"), _negated=True),
                fields=["status", "id"],
                name="task_not_done",
            ),
        ),
        migrations.AddIndex(
            model_name="task",
            index=models.Index(
                condition=models.Q(("offered_to__isnull", False)),
                fields=["offered_to"],
                name="task_offered",
            ),
        ),
        migrations.AddIndex(
            model_name="task",
            index=models.Index(
                condition=models.Q(("parent__isnull", False)), fields=["parent"], name="task_parent"
            ),
        ),
        migrations.RunPython(drop_prefix_indexes, migrations.RunPython.noop),
        migrations.RunPython(store_busy, store_as_any),
    ]
