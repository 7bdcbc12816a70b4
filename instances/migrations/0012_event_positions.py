from django.db import migrations, models
from django.db.models import F

from hopper.database import engine


def number_old_events(apps, schema_editor):
    """Give the events that are there their ids as positions: cursors of clients stay valid."""
    if not engine().ids_follow_commits:
        apps.get_model("instances", "Event").objects.update(position=F("id"))


class Migration(migrations.Migration):
    dependencies = [
        ("instances", "0011_max_runtime"),
    ]

    operations = [
        migrations.AddField(
            model_name="event",
            name="position",
            field=models.BigIntegerField(blank=True, editable=False, null=True),
        ),
        migrations.RunPython(number_old_events, migrations.RunPython.noop),
        migrations.AddIndex(
            model_name="event",
            index=models.Index(
                condition=models.Q(("position__isnull", False)),
                fields=["instance", "position"],
                name="event_feed_of_instance",
            ),
        ),
        migrations.AddIndex(
            model_name="event",
            index=models.Index(
                condition=models.Q(("position__isnull", True)),
                fields=["id"],
                name="event_without_position",
            ),
        ),
        migrations.AddConstraint(
            model_name="event",
            constraint=models.UniqueConstraint(
                condition=models.Q(("position__isnull", False)),
                fields=("position",),
                name="event_position",
            ),
        ),
    ]
