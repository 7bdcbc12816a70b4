"""Rolling: a task has at most one live attempt, by a constraint of the database as well (I7).

0022 altered the column `task` of attempts. On PostgreSQL Django then dropped this constraint too.
Writes wait while the index is built.
"""

from django.db import connection, migrations

NAME = "attempt_one_live_per_task"


def add_where_missing(apps, schema_editor):
    """Add the constraint where the table lacks it."""
    attempt = apps.get_model("instances", "Attempt")
    with connection.cursor() as cursor:
        present = connection.introspection.get_constraints(cursor, attempt._meta.db_table)
    if NAME not in present:
        (constraint,) = (one for one in attempt._meta.constraints if one.name == NAME)
        schema_editor.add_constraint(attempt, constraint)


class Migration(migrations.Migration):
    dependencies = [
        ("instances", "0031_archive"),
    ]

    operations = [
        migrations.RunPython(add_where_missing, migrations.RunPython.noop),
    ]
