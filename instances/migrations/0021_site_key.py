"""Where servers agree on the key of the site. Rolling: older servers do not read the table."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("instances", "0020_words"),
    ]

    operations = [
        migrations.CreateModel(
            name="SiteKey",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("fingerprint", models.CharField(max_length=16)),
            ],
        ),
    ]
