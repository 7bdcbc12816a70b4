"""Rolling: the indexes that only LIKE 'prefix%' could use are dropped."""

from django.db import connection, migrations

from hopper.database import engine


def drop_prefix_indexes(apps, schema_editor):
    """Drop them. Going back does not need them."""
    with connection.cursor() as cursor:
        engine().drop_prefix_indexes(cursor, "delegation")


class Migration(migrations.Migration):
    dependencies = [
        ("delegation", "0002_question"),
    ]

    operations = [
        migrations.RunPython(drop_prefix_indexes, migrations.RunPython.noop),
    ]
