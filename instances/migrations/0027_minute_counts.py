"""Counts by the minute. Rolling: older servers do not know the table and the column.

Of the events so far the newest 200,000 are counted, by the next sweeps.
"""

from django.db import migrations, models

EVENTS = 200_000


def begin_near_the_end(apps, schema_editor):
    """Let the counting begin 200,000 events before the newest one."""
    event = apps.get_model("instances", "Event")
    record = apps.get_model("instances", "SweepRecord")
    newest = event.objects.aggregate(position=models.Max("position"), id=models.Max("id"))
    last = newest["position"] or newest["id"] or 0
    record.objects.update(counted=max(0, last - EVENTS))


class Migration(migrations.Migration):
    dependencies = [
        ("instances", "0026_agent_sessions"),
    ]

    operations = [
        migrations.CreateModel(
            name="MinuteCount",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("minute", models.DateTimeField()),
                ("instance_id", models.CharField(default="", max_length=100)),
                ("what", models.CharField(max_length=60)),
                ("number", models.BigIntegerField(default=0)),
            ],
        ),
        migrations.AddConstraint(
            model_name="minutecount",
            constraint=models.UniqueConstraint(
                fields=("minute", "instance_id", "what"), name="minute_count_once"
            ),
        ),
        migrations.AddField(
            model_name="sweeprecord",
            name="counted",
            field=models.BigIntegerField(db_default=0, default=0),
        ),
        migrations.RunPython(begin_near_the_end, migrations.RunPython.noop, elidable=True),
    ]
