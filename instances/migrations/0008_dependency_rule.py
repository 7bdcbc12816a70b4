from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("instances", "0007_children_of_one_call"),
    ]

    operations = [
        migrations.AddField(
            model_name="task",
            name="dependency_rule",
            field=models.CharField(
                choices=[("done", "done alone"), ("any_terminal", "any end")],
                default="done",
                max_length=12,
            ),
        ),
    ]
