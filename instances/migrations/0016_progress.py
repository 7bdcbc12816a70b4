"""When a worker last reported progress. Rolling: older servers leave the new column null."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("instances", "0015_lease_digests"),
    ]

    operations = [
        migrations.AddField(
            model_name="attempt",
            name="reported_at",
            field=models.DateTimeField(blank=True, null=True),
        ),
    ]
