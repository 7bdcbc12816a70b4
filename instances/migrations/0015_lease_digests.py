"""Replaces stored lease tokens by digests. Stop: older servers read the columns of the tokens.

Live leases stay valid: a digest of each token is kept with its attempt. Kept answers to keyed
claims lose their tokens; a replay derives them.
"""

from django.db import migrations, models

# On SQLite, Django adds the function.
_HASH = {
    "postgresql": "UPDATE instances_attempt SET lease_digest ="
    " encode(sha256(convert_to(lease_digest, 'UTF8')), 'hex') WHERE lease_digest <> ''",
    "sqlite": "UPDATE instances_attempt SET lease_digest = sha256(lease_digest)"
    " WHERE lease_digest <> ''",
}


def _hash_tokens(apps, schema_editor):
    with schema_editor.connection.cursor() as cursor:
        cursor.execute(_HASH[schema_editor.connection.vendor])


def _forget_tokens(apps, schema_editor):
    records = apps.get_model("instances", "IdempotencyRecord").objects
    for record in records.filter(body__isnull=False).iterator(chunk_size=200):
        body = record.body if isinstance(record.body, dict) else {}
        tasks = body.get("tasks")
        leased = [
            task["lease"]
            for task in (body, *(tasks if isinstance(tasks, list) else ()))
            if isinstance(task, dict) and isinstance(task.get("lease"), dict)
        ]
        for lease in leased:
            lease["token"] = None
        if leased:
            record.save(update_fields=["body"])


class Migration(migrations.Migration):
    dependencies = [("instances", "0014_questions")]

    operations = [
        migrations.RenameField("attempt", "lease_token", "lease_digest"),
        migrations.AlterField(
            "attempt",
            "lease_digest",
            models.CharField(blank=True, db_default="", default="", editable=False, max_length=64),
        ),
        migrations.RunPython(_hash_tokens, migrations.RunPython.noop),
        migrations.RunPython(_forget_tokens, migrations.RunPython.noop),
        migrations.RemoveConstraint("task", "task_lease_only_while_started"),
        migrations.RemoveField("task", "lease_token"),
        migrations.AddConstraint(
            "task",
            models.CheckConstraint(
                condition=models.Q(
                    ("lease_seconds__isnull", True),
                    ("status__in", ("claimed", "in_progress")),
                    _connector="OR",
                ),
                name="task_lease_only_while_started",
            ),
        ),
    ]
