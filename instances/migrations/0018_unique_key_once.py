"""Makes keys unique among what one caller sees. Stop, as 0017, whose rows are committed first."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("instances", "0017_actor_ids")]

    operations = [
        migrations.AddConstraint(
            "task",
            models.UniqueConstraint(
                condition=models.Q(
                    ("unique_key__isnull", False),
                    models.Q(("status__in", ("done", "failed", "cancelled")), _negated=True),
                ),
                fields=("unique_among", "unique_key"),
                name="task_unique_key_once",
            ),
        ),
    ]
