from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("instances", "0008_dependency_rule"),
    ]

    operations = [
        migrations.AddField(
            model_name="task",
            name="discarded_at",
            field=models.DateTimeField(blank=True, null=True),
        ),
        migrations.AddIndex(
            model_name="task",
            index=models.Index(
                condition=models.Q(("discarded_at__isnull", True), ("status", "failed")),
                fields=["id"],
                name="task_dead_letter",
            ),
        ),
    ]
