"""Webhooks and the log of their deliveries. Rolling: older servers do not know the tables."""

import django.db.models.deletion
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("instances", "0024_sweep_record"),
    ]

    operations = [
        migrations.CreateModel(
            name="Webhook",
            fields=[
                ("id", models.CharField(max_length=64, primary_key=True, serialize=False)),
                ("url", models.CharField(max_length=2000)),
                ("kinds", models.JSONField(blank=True, default=list)),
                ("description", models.CharField(blank=True, default="", max_length=200)),
                ("owner", models.CharField(max_length=150)),
                ("owner_id", models.CharField(max_length=150)),
                ("created_at", models.DateTimeField()),
                ("secret_number", models.PositiveIntegerField(default=1)),
                ("rotated_at", models.DateTimeField(blank=True, null=True)),
                ("enabled", models.BooleanField(default=True)),
                ("off_reason", models.CharField(blank=True, default="", max_length=200)),
                ("position", models.BigIntegerField()),
                ("failures", models.PositiveIntegerField(default=0)),
                ("failing_since", models.DateTimeField(blank=True, null=True)),
                ("next_at", models.DateTimeField(blank=True, null=True)),
                ("taken_until", models.DateTimeField(blank=True, editable=False, null=True)),
                ("test_due", models.BooleanField(default=False, editable=False)),
                (
                    "instance",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="webhooks",
                        to="instances.hopperinstance",
                    ),
                ),
            ],
        ),
        migrations.CreateModel(
            name="Delivery",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("position", models.BigIntegerField(blank=True, null=True)),
                ("message_id", models.CharField(max_length=80)),
                ("kind", models.CharField(max_length=40)),
                ("at", models.DateTimeField()),
                ("seconds", models.FloatField()),
                ("status", models.PositiveSmallIntegerField(blank=True, null=True)),
                ("reason", models.CharField(blank=True, default="", max_length=200)),
                (
                    "webhook",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="deliveries",
                        to="instances.webhook",
                    ),
                ),
            ],
            options={
                "verbose_name_plural": "deliveries",
            },
        ),
    ]
