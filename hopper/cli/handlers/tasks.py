"""`hopper task`: creating, finding, reading and changing tasks."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from hopper.cli.arguments import Group, add_field, bind, confirmed, text_of, user_name, worker_name
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
from hopper.task_fields import BY_NAME, CREATE, EDIT, set_at
from hopper.words import key_of, keys_of, one_of_each

if TYPE_CHECKING:
    from hopper.task_fields import TaskField

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
    add_options(group.add("add", add, render.show_created, "create a task"))
    list_options(group.add("list", list_tasks, render.show_list, "list tasks of every status"))

    get_ = group.add("get", get, render.show_task, "show a task with its whole description")
    get_.add_argument("id")
    get_.add_argument("--with-lessons", action="store_true", help="add the lessons that apply")

    change = group.add("update", update, render.show_updated, "change a task")
    change.add_argument("id")
    change.add_argument("--title")
    change.add_argument("--add-tag", action="append", metavar="TAG")
    change.add_argument("--remove-tag", action="append", metavar="TAG")
    _field_options(change, CHANGEABLE)
    change.add_argument("-i", "--ask", action="store_true", help="ask for each field")

    set_ = group.add("status", set_status, render.show_status, "change a task's status")
    set_.add_argument("id")
    set_.add_argument("word", type=settable_word, metavar="WORD")
    set_.add_argument("-f", "--force", action="store_true", help="from any status to any")
    set_.add_argument("--reason", help="why, kept apart from the description")
    set_.add_argument("--worker", help="who works on it (default: you)")

    remove = group.add("delete", delete, render.show_deleted, "cancel a task")
    remove.add_argument("id")
    remove.add_argument("--preview", action="store_true", help="preview the effects, write nothing")
    remove.add_argument("-f", "--force", "--yes", dest="yes", action="store_true")

    find = group.add("search", search, render.show_list, "find tasks by text")
    find.add_argument("text")
    find.add_argument("--limit", type=int)
    find.add_argument("--compact", action="store_true")
    task_verbs.add_commands(group)


def add_options(parser: ArgumentParser, title: str | None = None) -> None:
    """Add the arguments of `task add` (and `hopper add`). `title` is the help of the title."""
    parser.add_argument("title", help=title)
    _field_options(parser, set_at(CREATE))
    parser.add_argument("--status", type=settable_word, metavar="WORD")


def list_options(parser: ArgumentParser) -> None:
    """Add the arguments of `task list` (and `hopper ls`)."""
    parser.add_argument("-s", "--status", type=status_word, action="append", metavar="WORD")
    add_field(parser, BY_NAME["priority"])
    parser.add_argument("--project")
    parser.add_argument("--instance", metavar="ID")
    parser.add_argument("--parent", metavar="ID", help="the children of a task")
    parser.add_argument("--subtree", action="store_true", help="and everything below --instance")
    parser.add_argument("-t", "--tag", action="append", help="all given tags must match")
    parser.add_argument("--owner")
    hands = parser.add_mutually_exclusive_group()
    hands.add_argument("--worker", metavar="NAME", help="held, or done, by this worker")
    hands.add_argument("--mine", action="store_true", help="by HOPPER_WORKER, else by you")
    parser.add_argument(
        "--waiting", metavar="CODE", help="by the reason: ReadyForWorker, ... (R26)"
    )
    parser.add_argument("--ready", action="store_true", help="what a worker could claim now")
    parser.add_argument("--blocked", action="store_true", help="what needs a person")
    parser.add_argument(
        "--sort-by",
        metavar="FIELD",
        choices=[sign + field for field in SORT_FIELDS for sign in ("", "-")],
        help=f"{', '.join(SORT_FIELDS)}; with - in front the other way round (--sort-by=-created)",
    )
    parser.add_argument("--limit", type=int, metavar="N")
    parser.add_argument("--compact", action="store_true", help="id, status and title alone")


def short_add(parser: Any) -> None:
    """Make a parser the short form of `task add`."""
    add_options(bind(parser, add, render.show_created))


def short_list(parser: Any) -> None:
    """Make a parser the short form of `task list`."""
    list_options(bind(parser, list_tasks, render.show_list))


def _field_options(parser: ArgumentParser, fields: Iterable[TaskField]) -> None:
    """Add the options of fields, and --brief-file for the description."""
    for field in fields:
        if field.name == "description":
            text = parser.add_mutually_exclusive_group()
            add_field(text, field)
            help = "the description is the text of this file; - = stdin"
            text.add_argument("--brief-file", metavar="FILE", help=help)
        elif field.option:
            add_field(parser, field)


def given_fields(args: Namespace, fields: Iterable[TaskField]) -> dict[str, Any]:
    """Return the given fields, with the text of --brief-file."""
    given = {field.name: getattr(args, field.name, None) for field in fields}
    if args.brief_file is not None:
        given["description"] = text_of(args.brief_file)
    return clean(given)


def add(args: Namespace, client: Client) -> Any:
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

    def change(task: dict[str, Any]) -> dict[str, Any]:
        fields = dict(given)
        if args.add_tag or args.remove_tag:
            removed = keys_of(args.remove_tag or ())
            kept = [tag for tag in task["tags"] if key_of(tag) not in removed]
            fields["tags"] = one_of_each([*kept, *(args.add_tag or ())])
        if args.ask:
            fields = {**task_verbs.asked(args, task), **fields}
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
