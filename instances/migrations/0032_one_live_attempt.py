"""Rolling: a task has at most one live attempt, by a constraint of the database as well (I7).

0022 altered the column `task` of attempts. On PostgreSQL Django then dropped this constraint too.
Where a task has several live attempts all the same, the attempt of its lease stays live, and the
others have run out. Writes wait while the index is built.
"""

from django.db import connection, migrations
from django.db.models import Count, F
from django.db.models.functions import Now

NAME = "attempt_one_live_per_task"


def add_where_missing(apps, schema_editor):
    """Add the constraint where the table lacks it."""
    attempt = apps.get_model("instances", "Attempt")
    with connection.cursor() as cursor:
        present = connection.introspection.get_constraints(cursor, attempt._meta.db_table)
    if NAME not in present:
        end_surplus(attempt)
        (constraint,) = (one for one in attempt._meta.constraints if one.name == NAME)
        schema_editor.add_constraint(attempt, constraint)


def end_surplus(attempt):
    """End the live attempts of a task that has more than one, but the attempt of its lease."""
    live = attempt.objects.filter(outcome=None)
    several = live.values("task").annotate(number_of=Count("pk")).filter(number_of__gt=1)
    surplus = live.filter(task__in=several.values("task")).exclude(number=F("task__attempt"))
    attempt.objects.filter(pk__in=list(surplus.values_list("pk", flat=True))).update(
        outcome="expired", ended_at=Now(), error="a newer attempt has the lease"
    )


class Migration(migrations.Migration):
    dependencies = [
        ("instances", "0031_archive"),
    ]

    operations = [
        migrations.RunPython(add_where_missing, migrations.RunPython.noop),
    ]
