"""Labels of the policies of failure. Rolling: nothing in the database changes."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("instances", "0028_traceparent"),
    ]

    operations = [
        migrations.AlterField(
            model_name="task",
            name="failure_policy",
            field=models.CharField(
                choices=[
                    ("wait_all", "wait for all"),
                    ("fail_fast", "fail at once"),
                    ("best_effort", "done if the quorum is"),
                    ("resume", "let the holder decide"),
                ],
                default="wait_all",
                max_length=12,
            ),
        ),
        migrations.AlterField(
            model_name="task",
            name="failure_means",
            field=models.CharField(
                choices=[
                    ("as_parent", "by the policy of the parent"),
                    ("wait_all", "wait for all"),
                    ("fail_fast", "fail at once"),
                    ("best_effort", "done if the quorum is"),
                    ("resume", "let the holder decide"),
                ],
                default="as_parent",
                max_length=12,
            ),
        ),
    ]
