"""The time of the last sweep. Rolling: older servers do not know the table."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("instances", "0023_comments_and_due_dates"),
    ]

    operations = [
        migrations.CreateModel(
            name="SweepRecord",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("at", models.DateTimeField()),
            ],
        ),
    ]
