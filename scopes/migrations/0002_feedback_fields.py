"""Stop: an older server gives the new columns no values."""

import django.core.validators
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("scopes", "0001_tables"),
    ]

    operations = [
        migrations.AddField(
            model_name="feedback",
            name="actual_duration",
            field=models.CharField(blank=True, default="", max_length=100),
        ),
        migrations.AddField(
            model_name="feedback",
            name="estimated_duration",
            field=models.CharField(blank=True, default="", max_length=100),
        ),
        migrations.AddField(
            model_name="feedback",
            name="required_rework",
            field=models.BooleanField(blank=True, null=True),
        ),
        migrations.AddField(
            model_name="feedback",
            name="required_skills_not_tagged",
            field=models.JSONField(blank=True, default=list),
        ),
        migrations.AddField(
            model_name="feedback",
            name="rework_reason",
            field=models.TextField(blank=True, default=""),
        ),
        migrations.AddField(
            model_name="feedback",
            name="routing_feedback",
            field=models.TextField(blank=True, default=""),
        ),
        migrations.AddField(
            model_name="feedback",
            name="should_have_routed_to",
            field=models.CharField(blank=True, default="", max_length=200),
        ),
        migrations.AddField(
            model_name="feedback",
            name="unexpected_blockers",
            field=models.JSONField(blank=True, default=list),
        ),
        migrations.AlterField(
            model_name="feedback",
            name="quality_score",
            field=models.FloatField(
                blank=True,
                null=True,
                validators=[
                    django.core.validators.MinValueValidator(0),
                    django.core.validators.MaxValueValidator(5),
                ],
            ),
        ),
    ]
