"""`hopper task`: creating, finding, reading and changing tasks."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from collections.abc import Iterable, Iterator
from typing import Any

from hopper.cli.arguments import (
    ID,
    LIMIT,
    PREVIEW,
    SURE,
    Group,
    HopperParser,
    Option,
    bind,
    confirmed,
    field_option,
    flag,
    one_of,
    option,
    text_of,
    user_name,
    worker_name,
)
from hopper.cli.handlers import task_verbs
from hopper.cli.render import tasks as render
from hopper.cli.status_words import (
    server_word,
    server_words,
    settable_word,
    spoken,
    status_word,
)
from hopper.cli.transport import Client, Refused, UsageError, at, clean
from hopper.task_fields import BY_NAME, CREATE, EDIT, TaskField, set_at
from hopper.words import key_of, keys_of, one_of_each

CHANGEABLE = tuple(field for field in set_at(EDIT) if field.option and field.kind != "words")
"""The fields that `task update` replaces. Tags are added and removed one by one."""

SORT_FIELDS = {
    "created": "created_at",
    "updated": "updated_at",
    "priority": "priority",
    "status": "status",
    "title": "title",
}


def add_commands(parser: ArgumentParser) -> None:
    """Add the group's commands to its parser."""
    group = Group(parser)
    add = group.add
    add("add", add_task, render.show_created, "create a task", *add_options())
    add("list", list_tasks, render.show_list, "list tasks of every status", *list_options())
    lessons = flag("--with-lessons", help="add the lessons that apply")
    add("get", get, render.show_task, "show a task with its whole description", ID, lessons)
    add(
        "update",
        update,
        render.show_updated,
        "change a task",
        ID,
        option("--title"),
        option("--add-tag", action="append", metavar="TAG"),
        option("--remove-tag", action="append", metavar="TAG"),
        *_field_options(CHANGEABLE),
        flag("-i", "--ask", help="ask for each field"),
    )
    add(
        "status",
        set_status,
        render.show_status,
        "change a task's status",
        ID,
        option("word", type=settable_word, metavar="WORD"),
        flag("-f", "--force", help="from any status to any"),
        option("--reason", help="why, kept apart from the description"),
        option("--worker", help="who works on it (default: you)"),
    )
    add("delete", delete, render.show_deleted, "cancel a task", ID, PREVIEW, SURE)
    found = (option("text"), option("--limit", type=int), flag("--compact"))
    add("search", search, render.show_list, "find tasks by text", *found)
    task_verbs.add_commands(group)


def add_options(title: str | None = None) -> Iterator[Option]:
    """Yield the arguments of `task add` (and `hopper add`). `title` is the help of the title."""
    yield option("title", help=title)
    yield from _field_options(set_at(CREATE))
    yield option("--status", type=settable_word, metavar="WORD")


def list_options() -> Iterator[Option]:
    """Yield the arguments of `task list` (and `hopper ls`)."""
    yield option("-s", "--status", type=status_word, action="append", metavar="WORD")
    yield field_option(BY_NAME["priority"])
    yield from (option("--project"), option("--instance", metavar="ID"))
    yield option("--parent", metavar="ID", help="the children of a task")
    yield flag("--subtree", help="and everything below --instance")
    yield option("-t", "--tag", action="append", help="all given tags must match")
    yield option("--owner")
    yield one_of(
        option("--worker", metavar="NAME", help="held, or done, by this worker"),
        flag("--mine", help="by HOPPER_WORKER, else by you"),
    )
    yield option("--waiting", metavar="CODE", help="by the reason: ReadyForWorker, ... (R26)")
    yield flag("--ready", help="what a worker could claim now")
    yield flag("--blocked", help="what needs a person")
    yield option(
        "--sort-by",
        metavar="FIELD",
        choices=[sign + field for field in SORT_FIELDS for sign in ("", "-")],
        help=f"{', '.join(SORT_FIELDS)}; with - in front the other way round (--sort-by=-created)",
    )
    yield from (LIMIT, flag("--compact", help="id, status and title alone"))


def short_add(parser: HopperParser) -> None:
    """Make a parser the short form of `task add`."""
    bind(parser, add_task, render.show_created, *add_options())


def short_list(parser: HopperParser) -> None:
    """Make a parser the short form of `task list`."""
    bind(parser, list_tasks, render.show_list, *list_options())


def _field_options(fields: Iterable[TaskField]) -> Iterator[Option]:
    """Yield the options of fields, and --brief-file for the description."""
    help = "the description is the text of this file; - = stdin"
    brief = option("--brief-file", metavar="FILE", help=help)
    for field in fields:
        if field.option:
            one = field_option(field)
            yield one_of(one, brief) if field.name == "description" else one


def given_fields(args: Namespace, fields: Iterable[TaskField]) -> dict[str, Any]:
    """Return the given fields, with the text of --brief-file."""
    given = {field.name: getattr(args, field.name, None) for field in fields}
    if args.brief_file is not None:
        given["description"] = text_of(args.brief_file)
    return clean(given)


def add_task(args: Namespace, client: Client) -> Any:
    """Create a task, and bring it to `--status` if given."""
    task = client.post(at("tasks"), given_fields(args, set_at(CREATE)))
    if args.status and server_word(args.status) != task["status"]:
        body = {"status": server_word(args.status), "owner": user_name()}
        task = client.post(at("tasks", task["id"], "status"), body)
    return spoken(task)


def list_tasks(args: Namespace, client: Client) -> list[Any]:
    """Return the tasks that match, page after page to the end."""
    if args.subtree and not args.instance:
        raise UsageError("--subtree needs --instance.")
    words = [*(args.status or ()), *(["blocked"] if args.blocked else [])]
    sort = args.sort_by or ""
    params = {
        "status": [server for word in words for server in server_words(word)] or None,
        "priority": args.priority,
        "project": args.project,
        "under" if args.subtree else "instance_id": args.instance,
        "parent_id": args.parent,
        "all_tags": args.tag,
        "owner": args.owner,
        "worker": worker_name() if args.mine else args.worker,
        "waiting_code": args.waiting,
        "ready": True if args.ready else None,
        "ordering": sort[: -len(sort.lstrip("-"))] + SORT_FIELDS[sort.lstrip("-")]
        if sort
        else None,
    }
    return [spoken(task) for task in client.pages(at("tasks"), params, limit=args.limit)]


def search(args: Namespace, client: Client) -> list[Any]:
    """Return the tasks whose text matches."""
    rows = client.pages(at("tasks", "search"), {"q": args.text}, limit=args.limit)
    return [spoken(task) for task in rows]


def get(args: Namespace, client: Client) -> Any:
    """Return a task, with its lessons on request."""
    task = client.get(at("tasks", args.id))
    if args.with_lessons:
        task = {**task, "lessons": lessons_for(task, client)}
    return spoken(task)


def lessons_for(task: dict[str, Any], client: Client) -> list[Any]:
    """Return the lessons that apply to a task."""
    try:
        return client.pages(at("lessons"), {"applies_to": task["id"]})
    except Refused as refusal:
        if refusal.status == 404:
            return []
        raise


def update(args: Namespace, client: Client) -> Any:
    """Change the given fields of a task, and add and remove tags."""
    given = given_fields(args, (BY_NAME["title"], *CHANGEABLE))
    asking = task_verbs.Asking()

    def change(task: dict[str, Any]) -> dict[str, Any]:
        fields = dict(given)
        if args.add_tag or args.remove_tag:
            removed = keys_of(args.remove_tag or ())
            kept = [tag for tag in task["tags"] if key_of(tag) not in removed]
            fields["tags"] = one_of_each([*kept, *(args.add_tag or ())])
        if args.ask:
            fields = {**asking.answers(args, task), **fields}
        if not fields:
            raise UsageError("Nothing to change: give --title, --description, --priority, …")
        return fields

    if args.add_tag or args.remove_tag or args.ask:
        return spoken(client.amend(at("tasks", args.id), change))
    return spoken(client.patch(at("tasks", args.id), change({})))


def set_status(args: Namespace, client: Client) -> Any:
    """Bring a task to a status along the legal path (R19)."""
    status = server_word(args.word)
    body = {
        "status": status,
        "reason": args.reason,
        "owner": args.worker or (user_name() if status in ("in_progress", "claimed") else None),
        "force": True if args.force else None,
    }
    return spoken(client.post(at("tasks", args.id, "status"), clean(body)))


def delete(args: Namespace, client: Client) -> Any:
    """Cancel a task (R16)."""
    if args.preview:
        return client.delete(at("tasks", args.id), {"preview": True})
    confirmed(args, f"Cancel {args.id} and what is open below it?")
    client.delete(at("tasks", args.id))
    return {"id": args.id, "status": "cancelled", "server_status": "cancelled"}
