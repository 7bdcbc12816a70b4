"""`hopper instance`: the tree of instances, its lifecycle, and the dashboard."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from typing import Any

from hopper.cli.arguments import (
    TIME_HELP,
    Group,
    HopperParser,
    bind,
    confirmed,
    json_object,
    moment,
)
from hopper.cli.render import instances as render
from hopper.cli.status_words import scope_word
from hopper.cli.transport import Client, at, clean
from hopper.protocol import ACTIONS, PARENTS


def add_commands(parser: ArgumentParser) -> None:
    """Add the group's commands to its parser."""
    group = Group(parser)
    _create_options(group.add("create", create, render.show_created, "create an instance"))
    _list_options(group.add("list", list_instances, render.show_list, "list instances"))
    for name, help in (("show", "show an instance"), ("get", "the same as show")):
        group.add(name, show, render.show_instance, help).add_argument("id")
    tree_options(group.add("tree", tree, render.show_tree, "draw the tree"))
    status_options(group.add("status", status, render.show_status, "show the dashboard"))
    for name in ("start", "stop", "restart", "pause", "resume", "recover"):
        help = ACTIONS[name].words if name in ACTIONS else "stop and start instances"
        action = group.add(name, act, render.show_changed, help)
        action.set_defaults(action=name)
        action.add_argument("ids", nargs="+", metavar="id")
        if name in ("stop", "restart"):
            action.add_argument("-f", "--force", action="store_true", help="revoke live leases")
        if name == "stop":
            action.add_argument("--evacuate", action="store_true", help="hand back what waits")
            action.add_argument(
                "--preview", action="store_true", help="preview the effects, write nothing"
            )
            action.add_argument("--yes", action="store_true", help="do not ask")
    _change_options(group.add("update", update, render.show_updated, "change an instance"))
    _delete_options(group.add("delete", delete, render.show_deleted, "terminate an instance"))


def add_project_commands(parser: ArgumentParser) -> None:
    """Add the commands of `project`: those of `instance`, for the scope PROJECT."""
    group = Group(parser)
    new = group.add("create", create, render.show_created, "create a project")
    rows = group.add("list", list_instances, render.show_list, "list projects")
    _create_options(new, scoped=False)
    _list_options(rows, scoped=False)
    for one in (new, rows):
        one.set_defaults(scope="PROJECT")
    for name, help in (("show", "show a project"), ("get", "the same as show")):
        group.add(name, show, render.show_instance, help).add_argument("id")


def _create_options(parser: ArgumentParser, *, scoped: bool = True) -> None:
    parser.add_argument("name")
    if scoped:
        parser.add_argument("--scope", type=scope_word, required=True)
    place = parser.add_mutually_exclusive_group()
    place.add_argument("--parent", dest="parent_id", metavar="ID")
    place.add_argument("--root", action="store_true", help="stand alone, under nothing")
    parser.add_argument(
        "--type", dest="instance_type", choices=("persistent", "ephemeral", "temporary")
    )
    parser.add_argument("--id")
    _config(parser)
    parser.add_argument("--description")
    parser.add_argument("--expires-at", type=moment, metavar="TIME", help=TIME_HELP)
    parser.add_argument("--start", action="store_true", help="and start it")


def _config(parser: ArgumentParser) -> None:
    parser.add_argument("--config", dest="settings_json", type=json_object, metavar="JSON")


def _list_options(parser: ArgumentParser, *, scoped: bool = True) -> None:
    if scoped:
        parser.add_argument("--scope", type=scope_word)
    parser.add_argument("--status")
    parser.add_argument("--type", dest="instance_type")
    parser.add_argument("--parent", dest="parent_id", metavar="ID")
    parser.add_argument("--root", metavar="ID", help="this instance and all below it")
    parser.add_argument("--search")
    parser.add_argument("--all", action="store_true", help="terminated ones too")
    parser.add_argument("--limit", type=int, metavar="N")


def tree_options(parser: HopperParser) -> None:
    """Make a parser the command `instance tree`."""
    bind(parser, tree, render.show_tree)
    parser.add_argument("--root", metavar="ID", help="begin at this instance")
    parser.add_argument("--scope", type=scope_word, help="this scope and what is above it")
    parser.add_argument("--depth", type=int, metavar="N")
    parser.add_argument("--all", action="store_true", help="terminated ones too")
    parser.add_argument("--no-tasks", action="store_true", help="without the numbers of tasks")
    parser.add_argument("--watch", action="store_true", help="again every two seconds")


def status_options(parser: HopperParser) -> None:
    """Make a parser the command `instance status`."""
    bind(parser, status, render.show_status)
    parser.add_argument("--root", metavar="ID", help="this instance and all below it")
    parser.add_argument("--watch", action="store_true", help="again every two seconds")


def _change_options(parser: ArgumentParser) -> None:
    parser.add_argument("id")
    parser.add_argument("--name")
    parser.add_argument("--description")
    parser.add_argument("--parent", dest="parent_id", metavar="ID", help="move it there")
    _config(parser)


def _delete_options(parser: ArgumentParser) -> None:
    parser.add_argument("id")
    parser.add_argument("--cascade", action="store_true", help="with everything below it")
    parser.add_argument("--preview", action="store_true", help="preview the effects, write nothing")
    parser.add_argument("-f", "--force", "--yes", dest="yes", action="store_true")


def create(args: Namespace, client: Client) -> Any:
    """Create an instance. Without --parent it stands under the one GLOBAL if R1 allows that."""
    parent = args.parent_id
    if parent is None and not args.root and "GLOBAL" in PARENTS[args.scope]:
        parent = the_global(client)
    fields = {
        "name": args.name,
        "scope": args.scope,
        "id": args.id,
        "instance_type": args.instance_type,
        "config": args.settings_json,
        "description": args.description,
        "expires_at": args.expires_at,
        "parent_id": parent,
    }
    instance = client.post(at("instances"), clean(fields))
    if args.start:
        instance = client.post(at("instances", instance["id"], "start"))
    return instance


def the_global(client: Client) -> str | None:
    """Return the id of the one live GLOBAL; None for no GLOBAL or several."""
    found = client.pages(at("instances"), {"scope": "GLOBAL"}, limit=2)
    return str(found[0]["id"]) if len(found) == 1 else None


def list_instances(args: Namespace, client: Client) -> list[Any]:
    """Return the instances that match."""
    params = {
        "scope": args.scope,
        "status": args.status.lower() if args.status else None,
        "instance_type": args.instance_type,
        "parent_id": args.parent_id,
        "under": args.root,
        "search": args.search,
        "include_terminated": True if args.all else None,
    }
    return client.pages(at("instances"), params, limit=args.limit)


def show(args: Namespace, client: Client) -> Any:
    """Return one instance."""
    return client.get(at("instances", args.id))


def tree(args: Namespace, client: Client) -> list[Any]:
    """Return every root (or --root) with its subtree."""
    shown = {"include_terminated": True if args.all else None}
    roots = [args.root]
    if not args.root:
        params = {"root": True, "ordering": "created_at", **shown}
        roots = [row["id"] for row in client.pages(at("instances"), params)]
    params = {"depth": args.depth, **shown}
    trees = [client.get(at("instances", root, "hierarchy"), params) for root in roots]
    if args.scope:
        trees = [kept for kept in (_only(args.scope, node) for node in trees) if kept]
    return trees


def _only(scope: str, node: dict[str, Any]) -> dict[str, Any] | None:
    children = [kept for child in node["children"] if (kept := _only(scope, child))]
    return {**node, "children": children} if children or node["scope"] == scope else None


def status(args: Namespace, client: Client) -> Any:
    """Return the figures of the dashboard."""
    return client.get(at("status"), {"under": args.root})


def act(args: Namespace, client: Client) -> list[Any]:
    """Do one lifecycle action on each instance (R2)."""
    flags = {name: True for name in ("force", "evacuate", "preview") if getattr(args, name, False)}
    if flags.get("force") and args.action == "stop" and not args.preview:
        confirmed(args, f"Stop {', '.join(args.ids)} and revoke live leases?")
    return [client.post(at("instances", id, args.action), flags) for id in args.ids]


def update(args: Namespace, client: Client) -> Any:
    """Change or move an instance."""
    fields = {
        "name": args.name,
        "description": args.description,
        "parent_id": args.parent_id,
        "config": args.settings_json,
    }
    return client.patch(at("instances", args.id), clean(fields))


def delete(args: Namespace, client: Client) -> Any:
    """Terminate an instance; with --cascade everything below too (R5)."""
    params = {
        "cascade": True if args.cascade else None,
        "preview": True if args.preview else None,
    }
    if not args.preview:
        confirmed(args, f"Terminate {args.id} for ever?")
    answer = client.delete(at("instances", args.id), params)
    return answer if args.preview else {"id": args.id, "status": "terminated"}
