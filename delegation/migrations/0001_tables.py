"""The tables of the room delegation as of release 2.0; stands for the migrations before it."""

import django.db.models.deletion
from django.db import migrations, models


class Migration(migrations.Migration):
    replaces = [("delegation", "0001_initial"), ("delegation", "0002_index_of_latest_offer")]

    dependencies = [
        ("instances", "0001_tables"),
    ]

    operations = [
        migrations.CreateModel(
            name="TaskDelegation",
            fields=[
                ("id", models.CharField(max_length=64, primary_key=True, serialize=False)),
                (
                    "delegation_type",
                    models.CharField(
                        choices=[
                            ("route", "route"),
                            ("decompose", "decompose"),
                            ("escalate", "escalate"),
                            ("reassign", "reassign"),
                        ],
                        default="route",
                        max_length=12,
                    ),
                ),
                (
                    "status",
                    models.CharField(
                        choices=[
                            ("pending", "pending"),
                            ("accepted", "accepted"),
                            ("rejected", "rejected"),
                            ("completed", "completed"),
                            ("expired", "expired"),
                            ("failed", "failed"),
                            ("cancelled", "cancelled"),
                        ],
                        default="pending",
                        max_length=12,
                    ),
                ),
                ("hop", models.PositiveIntegerField()),
                ("epoch", models.PositiveIntegerField()),
                ("explicit", models.BooleanField(default=False)),
                ("forced", models.BooleanField(default=False)),
                ("delegated_at", models.DateTimeField()),
                ("accepted_at", models.DateTimeField(blank=True, null=True)),
                ("completed_at", models.DateTimeField(blank=True, null=True)),
                ("expires_at", models.DateTimeField(blank=True, null=True)),
                ("result", models.JSONField(blank=True, null=True)),
                ("reason", models.CharField(blank=True, default="", max_length=40)),
                ("rejection_reason", models.TextField(blank=True, default="")),
                ("notes", models.TextField(blank=True, default="")),
                ("delegated_by", models.CharField(default="", max_length=150)),
                ("answered_by", models.CharField(blank=True, default="", max_length=150)),
                (
                    "source_instance",
                    models.ForeignKey(
                        db_index=False,
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="outgoing_delegations",
                        to="instances.hopperinstance",
                    ),
                ),
                (
                    "target_instance",
                    models.ForeignKey(
                        db_index=False,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="incoming_delegations",
                        to="instances.hopperinstance",
                    ),
                ),
                (
                    "task",
                    models.ForeignKey(
                        db_index=False,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="delegations",
                        to="instances.task",
                    ),
                ),
            ],
            options={
                "indexes": [
                    models.Index(fields=["task", "delegated_at", "id"], name="delegation_of_task"),
                    models.Index(
                        fields=["target_instance", "status", "id"], name="delegation_incoming"
                    ),
                    models.Index(
                        fields=["source_instance", "status", "id"], name="delegation_outgoing"
                    ),
                    models.Index(
                        condition=models.Q(("status", "pending")),
                        fields=["expires_at"],
                        name="delegation_expiring",
                    ),
                    models.Index(
                        fields=["target_instance", "delegated_at"], name="delegation_latest"
                    ),
                ],
                "constraints": [
                    models.UniqueConstraint(
                        condition=models.Q(("status", "pending")),
                        fields=("task",),
                        name="delegation_one_pending_per_task",
                    )
                ],
            },
        ),
    ]
