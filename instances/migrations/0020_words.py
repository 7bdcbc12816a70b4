"""Stop: an older server writes no keys of words, so its instances and tasks would not be found.

Of live siblings with one key the oldest keeps it. The others get a key of their own. The migration
names them on stderr, and `attention` lists them until they are renamed.
"""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any

from django.db import migrations, models

from hopper.words import clashing_key, key_of, keys_of

if TYPE_CHECKING:
    from collections.abc import Iterator

BATCH = 5000
REPORTED = 20
KEY_LENGTH = 500
UNREAD = "\n"


def key_instances(apps: Any, schema_editor: Any) -> None:
    """Write the key of every name, the oldest instance first."""
    instances = apps.get_model("instances", "HopperInstance").objects
    taken: dict[tuple[str | None, str], Any] = {}
    clashes = []
    for one in list(instances.order_by("created_at", "id")):
        one.name_key = key_of(one.name)
        if one.status != "terminated":
            oldest = taken.setdefault((one.parent_id, one.name_key), one)
            if oldest is not one:
                one.name_key = clashing_key(one.name, one.id)
                clashes.append((one, oldest))
        instances.filter(pk=one.pk).update(name_key=one.name_key)
    _report(clashes)


def _report(clashes: list[tuple[Any, Any]]) -> None:
    """Write on stderr which instances share a name, and which of them the name means now."""
    lines = [
        f"{one.id}: the name {one.name!r} means {oldest.id} ({oldest.name!r}), which is older; "
        f"rename it: hopper instance update {one.id} --name NAME"
        for one, oldest in clashes[:REPORTED]
    ]
    if len(clashes) > REPORTED:
        lines.append(f"and {len(clashes) - REPORTED} more: hopper attention lists them")
    sys.stderr.write("".join(f"{line}\n" for line in lines))


def key_tasks(apps: Any, schema_editor: Any) -> None:
    """Write the keys of projects, tags and capabilities, and those by which claims search."""
    model = apps.get_model("instances", "Task")
    worded = model.objects.exclude(project="", tags=[], required_capabilities=[])
    names = ("project", "tags", "required_capabilities")
    for rows in _batches(worded.values_list("pk", *names)):
        with schema_editor.connection.cursor() as cursor:
            cursor.executemany(
                f"UPDATE {model._meta.db_table} SET project_key = %s, tag_keys = %s,"  # noqa: S608
                " capability_keys = %s, cap_key = %s, kind_key = %s WHERE id = %s",
                [(*_keys(*words), pk) for pk, *words in rows],
            )


def _keys(project: str, tags: list[str], needed: list[str]) -> tuple[str, ...]:
    tag_keys, needed_keys = keys_of(tags), keys_of(needed)
    needs, has = _list_key(needed_keys), _list_key(tag_keys)
    kind = UNREAD if UNREAD in (needs, has) else f"{needs}\f{has}"
    return key_of(project), json.dumps(tag_keys), json.dumps(needed_keys), needs, kind


def _list_key(keys: list[str]) -> str:
    key = "\n".join(keys)
    return UNREAD if len(key.encode()) > KEY_LENGTH else key


def key_lessons(apps: Any, schema_editor: Any) -> None:
    """Write the keys of domains and projects."""
    lessons = apps.get_model("instances", "Lesson").objects
    for rows in _batches(
        lessons.exclude(domain="", project="").values_list("pk", "domain", "project")
    ):
        for pk, domain, project in rows:
            keys = {"domain_key": key_of(domain), "project_key": key_of(project)}
            lessons.filter(pk=pk).update(**keys)


def _batches(rows: Any) -> Iterator[list[Any]]:
    """Yield all rows in the order of their ids, which stand first in them."""
    found, last = list(rows.order_by("pk")[:BATCH]), ""
    while found:
        yield found
        last = found[-1][0]
        found = list(rows.filter(pk__gt=last).order_by("pk")[:BATCH])


_LIVE = ~models.Q(status="terminated")
_KEY = {"editable": False, "max_length": 600, "default": ""}


class Migration(migrations.Migration):
    dependencies = [
        ("instances", "0019_lesson_instances"),
    ]

    operations = [
        migrations.RemoveConstraint(
            model_name="hopperinstance", name="instance_name_among_live_siblings"
        ),
        migrations.RemoveConstraint(
            model_name="hopperinstance", name="instance_name_among_live_roots"
        ),
        migrations.RemoveIndex(model_name="task", name="task_project"),
        migrations.AddField(
            model_name="hopperinstance",
            name="name_key",
            field=models.CharField(default="", editable=False, max_length=800),
            preserve_default=False,
        ),
        migrations.AddField(
            model_name="lesson", name="domain_key", field=models.CharField(db_index=True, **_KEY)
        ),
        migrations.AddField(
            model_name="lesson", name="project_key", field=models.CharField(db_index=True, **_KEY)
        ),
        migrations.AddField(
            model_name="task",
            name="capability_keys",
            field=models.JSONField(blank=True, default=list, editable=False),
        ),
        migrations.AddField(
            model_name="task", name="project_key", field=models.CharField(blank=True, **_KEY)
        ),
        migrations.AddField(
            model_name="task",
            name="tag_keys",
            field=models.JSONField(blank=True, default=list, editable=False),
        ),
        migrations.AlterField(
            model_name="lesson",
            name="domain",
            field=models.CharField(blank=True, default="", max_length=200),
        ),
        migrations.AlterField(
            model_name="lesson",
            name="project",
            field=models.CharField(blank=True, default="", max_length=200),
        ),
        migrations.RunPython(key_instances, migrations.RunPython.noop),
        migrations.RunPython(key_tasks, migrations.RunPython.noop),
        migrations.RunPython(key_lessons, migrations.RunPython.noop),
        migrations.AddIndex(
            model_name="task",
            index=models.Index(fields=["project_key", "id"], name="task_project"),
        ),
        migrations.AddConstraint(
            model_name="hopperinstance",
            constraint=models.UniqueConstraint(
                condition=models.Q(parent__isnull=False) & _LIVE,
                fields=("parent", "name_key"),
                name="instance_name_among_live_siblings",
            ),
        ),
        migrations.AddConstraint(
            model_name="hopperinstance",
            constraint=models.UniqueConstraint(
                condition=models.Q(parent__isnull=True) & _LIVE,
                fields=("name_key",),
                name="instance_name_among_live_roots",
            ),
        ),
    ]
