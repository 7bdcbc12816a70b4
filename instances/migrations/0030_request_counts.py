"""Counts of requests of all servers. Rolling: older servers count for themselves alone."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("instances", "0029_policy_labels"),
    ]

    operations = [
        migrations.CreateModel(
            name="RequestCount",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("key", models.CharField(max_length=200)),
                ("minute", models.BigIntegerField()),
                ("number", models.BigIntegerField(default=0)),
            ],
        ),
        migrations.AddConstraint(
            model_name="requestcount",
            constraint=models.UniqueConstraint(fields=("key", "minute"), name="request_count_once"),
        ),
    ]
