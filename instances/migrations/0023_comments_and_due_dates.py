"""Comments on tasks, and when they are due. Rolling: older servers leave the column null."""

import django.db.models.deletion
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("instances", "0022_fewer_indexes"),
    ]

    operations = [
        migrations.CreateModel(
            name="Comment",
            fields=[
                ("id", models.CharField(max_length=64, primary_key=True, serialize=False)),
                ("text", models.TextField()),
                ("created_by", models.CharField(max_length=150)),
                ("created_by_id", models.CharField(max_length=150)),
                ("created_at", models.DateTimeField()),
            ],
        ),
        migrations.AddField(
            model_name="task",
            name="due_at",
            field=models.DateTimeField(blank=True, null=True),
        ),
        migrations.AddIndex(
            model_name="task",
            index=models.Index(
                condition=models.Q(
                    ("due_at__isnull", False),
                    models.Q(("status__in", ("done", "failed", "cancelled")), _negated=True),
                ),
                fields=["due_at"],
                name="task_due",
            ),
        ),
        migrations.AddField(
            model_name="comment",
            name="task",
            field=models.ForeignKey(
                db_index=False,
                on_delete=django.db.models.deletion.CASCADE,
                related_name="comments",
                to="instances.task",
            ),
        ),
        migrations.AddIndex(
            model_name="comment",
            index=models.Index(fields=["task", "id"], name="comment_of_task"),
        ),
    ]
