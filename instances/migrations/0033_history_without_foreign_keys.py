"""Rolling: attempts and events point at tasks and instances without foreign keys.

The checks cost a fifth of a claim. `hopper check` looks for rows that point at nothing (I25).
"""

import django.db.models.deletion
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("instances", "0032_one_live_attempt"),
    ]

    operations = [
        migrations.AlterField(
            model_name="attempt",
            name="instance",
            field=models.ForeignKey(
                db_constraint=False,
                db_index=False,
                null=True,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="+",
                to="instances.hopperinstance",
            ),
        ),
        migrations.AlterField(
            model_name="attempt",
            name="task",
            field=models.ForeignKey(
                db_constraint=False,
                db_index=False,
                on_delete=django.db.models.deletion.CASCADE,
                related_name="attempts",
                to="instances.task",
            ),
        ),
        migrations.AlterField(
            model_name="event",
            name="instance",
            field=models.ForeignKey(
                blank=True,
                db_constraint=False,
                db_index=False,
                null=True,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="events",
                to="instances.hopperinstance",
            ),
        ),
        migrations.AlterField(
            model_name="event",
            name="task",
            field=models.ForeignKey(
                blank=True,
                db_constraint=False,
                db_index=False,
                null=True,
                on_delete=django.db.models.deletion.CASCADE,
                related_name="events",
                to="instances.task",
            ),
        ),
    ]
