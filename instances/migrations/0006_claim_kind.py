from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("instances", "0005_check_record"),
    ]

    operations = [
        migrations.AddField(
            model_name="task",
            name="kind_key",
            field=models.CharField(blank=True, default="\n", max_length=1001),
        ),
        migrations.AddIndex(
            model_name="task",
            index=models.Index(
                condition=models.Q(
                    ("offered_to__isnull", True),
                    ("ready", True),
                    ("route_due", False),
                    ("status", "pending"),
                ),
                fields=["instance", "kind_key", "-queue_urgent", "queue_at", "id"],
                name="task_claim_kind",
            ),
        ),
    ]
