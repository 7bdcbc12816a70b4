"""`hopper instance`: the tree of instances, its lifecycle, and the dashboard."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from collections.abc import Iterator
from typing import Any

from hopper.cli.arguments import (
    ID,
    LIMIT,
    PREVIEW,
    SURE,
    TIME_HELP,
    YES,
    Group,
    HopperParser,
    Option,
    bind,
    confirmed,
    flag,
    json_object,
    moment,
    on_id,
    one_of,
    option,
)
from hopper.cli.render import instances as render
from hopper.cli.status_words import scope_word
from hopper.cli.transport import Client, at, clean
from hopper.protocol import ACTIONS, PARENTS


def add_commands(parser: ArgumentParser) -> None:
    """Add the group's commands to its parser."""
    add = Group(parser).add
    scope = option("--scope", type=scope_word, required=True)
    add("create", create, render.show_created, "create an instance", *_created(scope))
    scope = option("--scope", type=scope_word)
    add("list", list_instances, render.show_list, "list instances", *_listed(scope))
    for name, help in (("show", "show an instance"), ("get", "the same as show")):
        add(name, show, render.show_instance, help, ID)
    add("tree", tree, render.show_tree, "draw the tree", *TREE)
    add("status", status, render.show_status, "show the dashboard", *STATUS)
    force = flag("-f", "--force", help="revoke live leases")
    more = {
        "stop": (force, flag("--evacuate", help="hand back what waits"), PREVIEW, YES),
        "restart": (force,),
    }
    ids = option("ids", nargs="+", metavar="id")
    for name in ("start", "stop", "restart", "pause", "resume", "recover"):
        help = ACTIONS[name].words if name in ACTIONS else "stop and start instances"
        add(name, act, render.show_changed, help, ids, *more.get(name, ()), action=name)
    add(
        "update",
        update,
        render.show_updated,
        "change an instance",
        ID,
        option("--name"),
        option("--description"),
        option("--parent", dest="parent_id", metavar="ID", help="move it there"),
        CONFIG,
    )
    cascade = flag("--cascade", help="with everything below it")
    help = "terminate an instance"
    add("delete", delete, render.show_deleted, help, ID, cascade, PREVIEW, SURE)


def add_project_commands(parser: ArgumentParser) -> None:
    """Add the commands of `project`: those of `instance`, for the scope PROJECT."""
    add = Group(parser).add
    project = {"scope": "PROJECT"}
    add("create", create, render.show_created, "create a project", *_created(), **project)
    add("list", list_instances, render.show_list, "list projects", *_listed(), **project)
    for name, help in (("show", "show a project"), ("get", "the same as show")):
        add(name, show, render.show_instance, help, ID)


CONFIG = option("--config", dest="settings_json", type=json_object, metavar="JSON")
ALL = flag("--all", help="terminated ones too")
WATCH = flag("--watch", help="again every two seconds")
BELOW = option("--root", metavar="ID", help="this instance and all below it")
TREE = (
    option("--root", metavar="ID", help="begin at this instance"),
    option("--scope", type=scope_word, help="this scope and what is above it"),
    option("--depth", type=int, metavar="N"),
    ALL,
    flag("--no-tasks", help="without the numbers of tasks"),
    WATCH,
)
STATUS = (BELOW, WATCH)


def tree_options(parser: HopperParser) -> None:
    """Make a parser the command `instance tree`."""
    bind(parser, tree, render.show_tree, *TREE)


def status_options(parser: HopperParser) -> None:
    """Make a parser the command `instance status`."""
    bind(parser, status, render.show_status, *STATUS)


def _created(*scope: Option) -> Iterator[Option]:
    """Yield the arguments of `create`."""
    yield from (option("name"), *scope)
    yield one_of(
        option("--parent", dest="parent_id", metavar="ID"),
        flag("--root", help="stand alone, under nothing"),
    )
    yield option("--type", dest="instance_type", choices=("persistent", "ephemeral", "temporary"))
    yield from (option("--id"), CONFIG, option("--description"))
    yield option("--expires-at", type=moment, metavar="TIME", help=TIME_HELP)
    yield flag("--start", help="and start it")


def _listed(*scope: Option) -> Iterator[Option]:
    """Yield the arguments of `list`."""
    yield from (*scope, option("--status"), option("--type", dest="instance_type"))
    yield option("--parent", dest="parent_id", metavar="ID")
    yield from (BELOW, option("--search"), ALL, LIMIT)


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


show = on_id(Client.get, "instances")


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
