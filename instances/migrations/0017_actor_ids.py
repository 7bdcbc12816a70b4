"""Gives actors ids beside their names. Rights are decided by the ids.

Stop: an older server writes rows without the ids, and such rows belong to nobody.

A name that actors bore gets an id only where exactly one actor ever bore it. Otherwise the rows of
that name belong to nobody: a task of theirs without an instance is left to operators everywhere.
"""

from collections import defaultdict
from datetime import timedelta

from django.conf import settings
from django.contrib.auth.hashers import is_password_usable
from django.db import migrations, models
from django.db.models import Min

import instances.models.access

_TOGETHER = timedelta(minutes=1)
"""An account that was made for a token is at most so much older than the token."""


def _give_token_ids(apps, schema_editor):
    records = apps.get_model("instances", "IdempotencyRecord").objects
    for token in apps.get_model("instances", "AgentToken").objects.all():
        token.actor_id = instances.models.access.new_actor_id()
        token.save(update_fields=["actor_id"])
        # Older servers name the owner of a key after the digest of the token.
        records.filter(caller=f"token:{token.pk}"[:150]).update(caller=token.actor_id)


def _bearers(apps):
    """Return for each name the actors that bear it: pairs of an id, "" for a past one, and a time."""
    tokens = list(apps.get_model("instances", "AgentToken").objects.all())
    granted = set(apps.get_model("instances", "Grant").objects.values_list("user_id", flat=True))
    found = defaultdict(list)
    for token in tokens:
        found[token.name].append((token.actor_id, token.created))
    for user in apps.get_model(settings.AUTH_USER_MODEL).objects.all():
        person = is_password_usable(user.password) or user.is_staff or user.pk in granted
        made_for = [
            token
            for token in tokens
            if token.user_id == user.pk
            and token.name == user.username
            and token.created - user.date_joined < _TOGETHER
        ]
        if person or not made_for:
            # Without a person, the account is left of a token that was revoked.
            found[user.username].append((f"user:{user.pk}" if person else "", user.date_joined))
    return found


def _first_traces(apps):
    """Return when each name was first used, by any actor."""
    first = {}
    for model, name, at in (
        ("Event", "actor", "at"),
        ("Task", "created_by", "created_at"),
        ("Lesson", "created_by", "created_at"),
        ("HopperInstance", "created_by", "created_at"),
    ):
        rows = apps.get_model("instances", model)._base_manager.order_by()
        for used, moment in rows.values_list(name).annotate(Min(at)):
            first[used] = min(moment, first.get(used, moment))
    return first


def _give_ids(apps, schema_editor):
    """Write the ids to the rows that rights depend on."""
    bearers, first = _bearers(apps), _first_traces(apps)

    def id_of(name):
        if not bearers[name]:
            # A name of no account and no token: the operator of the machine, or a part of Hopper.
            return f"hopper:{name}" if name in ("router", "system") else f"operator:{name}"[:150]
        (actor_id, since), *others = bearers[name]
        return "" if others or first.get(name, since) < since else actor_id

    for model, name, target in (
        ("Task", "created_by", "created_by_id"),
        ("Task", "lease_holder", "lease_holder"),
        ("Lesson", "created_by", "created_by_id"),
        ("HopperInstance", "created_by", "created_by_id"),
    ):
        rows = apps.get_model("instances", model)._base_manager.exclude(**{name: ""}).order_by()
        for used in list(rows.values_list(name, flat=True).distinct()):
            rows.filter(**{name: used}).update(**{target: id_of(used)})
    tasks = apps.get_model("instances", "Task").objects.filter(unique_key__isnull=False)
    tasks.filter(origin__isnull=False).update(unique_among=models.F("origin_id"))
    tasks.filter(origin__isnull=True).update(unique_among=models.F("created_by_id"))


def _id_field(**options):
    return models.CharField(max_length=150, default="", db_default="", blank=True, **options)


class Migration(migrations.Migration):
    dependencies = [
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
        ("instances", "0016_progress"),
    ]

    operations = [
        migrations.AddField(
            "agenttoken", "actor_id", models.CharField(default="", editable=False, max_length=150)
        ),
        migrations.AddField("event", "actor_id", _id_field()),
        migrations.AddField("hopperinstance", "created_by_id", _id_field()),
        migrations.AddField("lesson", "created_by_id", _id_field()),
        migrations.AddField("task", "created_by_id", _id_field()),
        migrations.AddField("task", "unique_among", _id_field(editable=False)),
        migrations.RunPython(_give_token_ids, migrations.RunPython.noop),
        migrations.AlterField(
            "agenttoken",
            "actor_id",
            models.CharField(
                default=instances.models.access.new_actor_id,
                editable=False,
                max_length=150,
                unique=True,
            ),
        ),
        migrations.RemoveConstraint("task", "task_unique_key_at_origin"),
        migrations.RemoveConstraint("task", "task_unique_key_unassigned"),
        migrations.RunPython(_give_ids, migrations.RunPython.noop),
    ]
