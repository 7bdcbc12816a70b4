"""An index of the latest offer to each instance, so that whose turn it is costs the same for ever."""

from __future__ import annotations

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("delegation", "0001_initial"),
        ("instances", "0001_initial"),
    ]

    operations = [
        migrations.AddIndex(
            model_name="taskdelegation",
            index=models.Index(
                fields=["target_instance", "delegated_at"], name="delegation_latest"
            ),
        ),
    ]
