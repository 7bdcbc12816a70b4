from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("instances", "0006_claim_kind"),
    ]

    operations = [
        migrations.AddField(
            model_name="task",
            name="key",
            field=models.CharField(blank=True, max_length=200, null=True),
        ),
        migrations.AddConstraint(
            model_name="task",
            constraint=models.UniqueConstraint(
                condition=models.Q(("key__isnull", False)),
                fields=("parent", "key"),
                name="task_key_under_parent",
            ),
        ),
        migrations.AddField(
            model_name="task",
            name="failure_means",
            field=models.CharField(
                choices=[
                    ("as_parent", "as the parent says"),
                    ("wait_all", "wait for all"),
                    ("fail_fast", "fail at once"),
                    ("best_effort", "enough is enough"),
                    ("resume", "let the holder decide"),
                ],
                default="as_parent",
                max_length=12,
            ),
        ),
        migrations.AlterField(
            model_name="task",
            name="on_parent_close",
            field=models.CharField(
                choices=[("cancel", "is cancelled too"), ("abandon", "goes on by itself")],
                default="cancel",
                max_length=8,
            ),
        ),
    ]
