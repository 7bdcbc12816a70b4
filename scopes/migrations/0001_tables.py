"""The tables of the room scopes as of release 2.0; stands for the migrations before it."""

import django.core.validators
import django.db.models.deletion
from django.db import migrations, models


class Migration(migrations.Migration):
    replaces = [("scopes", "0001_initial"), ("scopes", "0002_decision_situation")]

    dependencies = [
        ("instances", "0001_tables"),
    ]

    operations = [
        migrations.CreateModel(
            name="RoutingDecision",
            fields=[
                ("id", models.CharField(max_length=64, primary_key=True, serialize=False)),
                ("epoch", models.PositiveIntegerField()),
                ("hop", models.PositiveIntegerField()),
                (
                    "verdict",
                    models.CharField(
                        choices=[
                            ("send", "send"),
                            ("stay", "stay"),
                            ("create", "create"),
                            ("refuse", "refuse"),
                        ],
                        max_length=16,
                    ),
                ),
                ("code", models.CharField(blank=True, default="", max_length=40)),
                ("reasons", models.JSONField(default=list)),
                ("candidates", models.JSONField(default=list)),
                ("rules", models.JSONField(default=list)),
                ("confidence", models.FloatField(default=1.0)),
                ("config_digest", models.CharField(max_length=64)),
                ("elapsed_ms", models.FloatField()),
                ("behavior", models.CharField(max_length=200)),
                ("actor", models.CharField(max_length=150)),
                ("created_at", models.DateTimeField()),
                (
                    "instance",
                    models.ForeignKey(
                        db_index=False,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="decisions_made",
                        to="instances.hopperinstance",
                    ),
                ),
                (
                    "target",
                    models.ForeignKey(
                        db_index=False,
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="decisions_for",
                        to="instances.hopperinstance",
                    ),
                ),
                (
                    "task",
                    models.ForeignKey(
                        db_index=False,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="decisions",
                        to="instances.task",
                    ),
                ),
            ],
        ),
        migrations.CreateModel(
            name="Feedback",
            fields=[
                ("id", models.BigAutoField(primary_key=True, serialize=False)),
                ("was_good_match", models.BooleanField(blank=True, null=True)),
                (
                    "quality_score",
                    models.PositiveSmallIntegerField(
                        blank=True,
                        null=True,
                        validators=[
                            django.core.validators.MinValueValidator(1),
                            django.core.validators.MaxValueValidator(5),
                        ],
                    ),
                ),
                (
                    "complexity_rating",
                    models.PositiveSmallIntegerField(
                        blank=True,
                        null=True,
                        validators=[
                            django.core.validators.MinValueValidator(1),
                            django.core.validators.MaxValueValidator(5),
                        ],
                    ),
                ),
                ("notes", models.TextField(blank=True, default="")),
                ("created_by", models.CharField(default="", max_length=150)),
                ("created_at", models.DateTimeField()),
                (
                    "task",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="feedback",
                        to="instances.task",
                    ),
                ),
                (
                    "decision",
                    models.ForeignKey(
                        blank=True,
                        null=True,
                        on_delete=django.db.models.deletion.SET_NULL,
                        related_name="feedback",
                        to="scopes.routingdecision",
                    ),
                ),
            ],
        ),
        migrations.AddIndex(
            model_name="routingdecision",
            index=models.Index(
                fields=["task", "epoch", "created_at", "id"], name="decision_of_task"
            ),
        ),
        migrations.AddIndex(
            model_name="routingdecision",
            index=models.Index(fields=["instance", "created_at"], name="decision_of_instance"),
        ),
        migrations.AddField(
            model_name="routingdecision",
            name="rule",
            field=models.CharField(blank=True, default="", max_length=200),
        ),
        migrations.AddField(
            model_name="routingdecision",
            name="situation",
            field=models.JSONField(default=dict, editable=False),
        ),
    ]
