"""Rolling: the database counts the open tasks of each instance, also for older servers.

Triggers of the table of tasks write the counts. A later migration that copies this table on SQLite
loses its triggers and has to make them again.

On PostgreSQL an instance has several rows, and its count is their sum. A change takes a row that no
other transaction holds, or makes one. So a change never waits. An instance has at most as many rows
as transactions have changed its tasks at one time.
"""

# ruff: noqa: S608 - the statements are made of names from this file

from django.db import connection, migrations

_OPEN = "('pending', 'claimed', 'in_progress', 'blocked')"


def _counted(row=""):
    """Return the condition that a task counts; `row` is the row's name with a dot."""
    return f"({row}instance_id IS NOT NULL AND {row}status IN {_OPEN})"


_COUNT = f"""INSERT INTO instances_open_count (instance_id, tasks)
    SELECT instance_id, count(*) FROM instances_task WHERE {_counted()} GROUP BY instance_id"""

_POSTGRESQL = (
    """CREATE TABLE instances_open_count (
        id bigserial PRIMARY KEY,
        instance_id varchar(64) COLLATE "C" NOT NULL,
        tasks integer NOT NULL
    ) WITH (fillfactor = 50, autovacuum_vacuum_scale_factor = 0.01)""",
    "CREATE INDEX open_count_instance ON instances_open_count (instance_id)",
    """CREATE OR REPLACE FUNCTION hopper_count_open(place text, change bigint) RETURNS void
        LANGUAGE plpgsql AS $$ BEGIN
            UPDATE instances_open_count SET tasks = tasks + change WHERE id = (
                SELECT id FROM instances_open_count WHERE instance_id = place
                LIMIT 1 FOR UPDATE SKIP LOCKED);
            IF NOT FOUND THEN
                INSERT INTO instances_open_count (instance_id, tasks) VALUES (place, change);
            END IF;
        END $$""",
    f"""CREATE OR REPLACE FUNCTION hopper_tasks_came_or_went() RETURNS trigger
        LANGUAGE plpgsql AS $$ BEGIN
            PERFORM hopper_count_open(instance_id, count(*) * TG_ARGV[0]::integer)
                FROM changed WHERE {_counted()} GROUP BY instance_id;
            RETURN NULL;
        END $$""",
    f"""CREATE OR REPLACE FUNCTION hopper_task_moved() RETURNS trigger
        LANGUAGE plpgsql AS $$ BEGIN
            IF {_counted("OLD.")} THEN PERFORM hopper_count_open(OLD.instance_id, -1); END IF;
            IF {_counted("NEW.")} THEN PERFORM hopper_count_open(NEW.instance_id, 1); END IF;
            RETURN NULL;
        END $$""",
    """CREATE OR REPLACE FUNCTION hopper_tasks_emptied() RETURNS trigger
        LANGUAGE plpgsql AS $$ BEGIN
            DELETE FROM instances_open_count;
            RETURN NULL;
        END $$""",
    """CREATE TRIGGER open_count_insert AFTER INSERT ON instances_task
        REFERENCING NEW TABLE AS changed
        FOR EACH STATEMENT EXECUTE FUNCTION hopper_tasks_came_or_went('1')""",
    """CREATE TRIGGER open_count_delete AFTER DELETE ON instances_task
        REFERENCING OLD TABLE AS changed
        FOR EACH STATEMENT EXECUTE FUNCTION hopper_tasks_came_or_went('-1')""",
    f"""CREATE TRIGGER open_count_update AFTER UPDATE OF instance_id, status ON instances_task
        FOR EACH ROW WHEN (OLD.instance_id IS DISTINCT FROM NEW.instance_id
            OR {_counted("OLD.")} <> {_counted("NEW.")})
        EXECUTE FUNCTION hopper_task_moved()""",
    """CREATE TRIGGER open_count_truncate AFTER TRUNCATE ON instances_task
        FOR EACH STATEMENT EXECUTE FUNCTION hopper_tasks_emptied()""",
    _COUNT,
)

_CAME = """INSERT INTO instances_open_count VALUES (NEW.instance_id, 1)
    ON CONFLICT (instance_id) DO UPDATE SET tasks = tasks + 1"""
_WENT = "UPDATE instances_open_count SET tasks = tasks - 1 WHERE instance_id = OLD.instance_id"
_UPDATE = "AFTER UPDATE OF instance_id, status ON instances_task"
_MOVED = f"""(OLD.instance_id IS NOT NEW.instance_id
    OR {_counted("OLD.")} <> {_counted("NEW.")})"""

_SQLITE = (
    """CREATE TABLE instances_open_count (
        instance_id varchar(64) NOT NULL PRIMARY KEY,
        tasks integer NOT NULL
    )""",
    f"""CREATE TRIGGER open_count_insert AFTER INSERT ON instances_task
        WHEN {_counted("NEW.")} BEGIN {_CAME}; END""",
    f"""CREATE TRIGGER open_count_delete AFTER DELETE ON instances_task
        WHEN {_counted("OLD.")} BEGIN {_WENT}; END""",
    f"""CREATE TRIGGER open_count_went {_UPDATE}
        WHEN {_counted("OLD.")} AND {_MOVED} BEGIN {_WENT}; END""",
    f"""CREATE TRIGGER open_count_came {_UPDATE}
        WHEN {_counted("NEW.")} AND {_MOVED} BEGIN {_CAME}; END""",
    _COUNT,
)


def count(apps, schema_editor):
    """Make the table and the triggers, and count.

    A restore of an older backup leaves this table and these functions: they are made anew.
    """
    schema_editor.execute("DROP TABLE IF EXISTS instances_open_count", None)
    for statement in _POSTGRESQL if connection.vendor == "postgresql" else _SQLITE:
        schema_editor.execute(statement, None)


def forget(apps, schema_editor):
    """Drop the triggers, their functions and the table."""
    if connection.vendor == "postgresql":
        triggers, where = ("insert", "delete", "update", "truncate"), "ON instances_task"
    else:
        triggers, where = ("insert", "delete", "went", "came"), ""
    for name in triggers:
        schema_editor.execute(f"DROP TRIGGER open_count_{name} {where}", None)
    if connection.vendor == "postgresql":
        for name in ("tasks_came_or_went", "task_moved", "tasks_emptied", "count_open"):
            schema_editor.execute(f"DROP FUNCTION hopper_{name}", None)
    schema_editor.execute("DROP TABLE instances_open_count", None)


class Migration(migrations.Migration):
    dependencies = [
        ("instances", "0033_history_without_foreign_keys"),
    ]

    operations = [migrations.RunPython(count, forget)]
