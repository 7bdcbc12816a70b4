"""Gives each lesson the instance where it belongs.

Rolling: a lesson that an older server files has no instance. Its author sees it, and those who see
everything.
"""

import django.db.models.deletion
from django.db import migrations, models


def _place_lessons(apps, schema_editor):
    """Place lessons of tasks at the holder of that time.

    Those of operators of the machine, who may work everywhere, are placed as new lessons are.
    """
    instances = apps.get_model("instances", "HopperInstance")._base_manager
    events = apps.get_model("instances", "Event")._base_manager
    for lesson in apps.get_model("instances", "Lesson")._base_manager.all():
        place, everywhere = "", lesson.created_by_id.startswith("operator:")
        if lesson.task_id is not None:
            before = events.filter(task=lesson.task_id, at__lte=lesson.created_at)
            place = before.order_by("-id").values_list("holder_id", flat=True).first()
        elif lesson.project and everywhere:
            named = instances.filter(pk__iexact=lesson.project)
            named = named or instances.filter(name__iexact=lesson.project)
            place = named[0].pk if len(named) == 1 else ""
        if place:
            lesson.instance_id = _lasting(instances, place) if everywhere else place
            lesson.save(update_fields=["instance"])


def _lasting(instances, place):
    """Return the instance, or for a run the nearest instance above that is no run."""
    one = instances.get(pk=place)
    while one.scope == "ORCHESTRATION" and one.parent_id is not None:
        one = instances.get(pk=one.parent_id)
    return one.pk


class Migration(migrations.Migration):
    dependencies = [("instances", "0018_unique_key_once")]

    operations = [
        migrations.AddField(
            "lesson",
            "instance",
            models.ForeignKey(
                blank=True,
                null=True,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="lessons",
                to="instances.hopperinstance",
            ),
        ),
        migrations.RunPython(_place_lessons, migrations.RunPython.noop),
    ]
