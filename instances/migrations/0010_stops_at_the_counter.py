from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("instances", "0009_dead_letters"),
    ]

    operations = [
        migrations.AddField(
            model_name="instanceload",
            name="stops",
            field=models.IntegerField(default=0),
        ),
    ]
