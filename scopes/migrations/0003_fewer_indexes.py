"""Rolling: the indexes that only LIKE 'prefix%' could use are dropped."""

from django.db import connection, migrations

from hopper.database import engine


def drop_prefix_indexes(apps, schema_editor):
    """Drop them. Going back does not need them."""
    with connection.cursor() as cursor:
        engine().drop_prefix_indexes(cursor, "scopes")


class Migration(migrations.Migration):
    dependencies = [
        ("scopes", "0002_feedback_fields"),
    ]

    operations = [
        migrations.RunPython(drop_prefix_indexes, migrations.RunPython.noop),
    ]
