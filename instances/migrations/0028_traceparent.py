"""The trace of a task. Rolling: older servers leave the column empty."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("instances", "0027_minute_counts"),
    ]

    operations = [
        migrations.AddField(
            model_name="task",
            name="traceparent",
            field=models.CharField(blank=True, db_default="", default="", max_length=55),
        ),
    ]
