"""`hopper run`: an orchestration for one run of an orchestrator of agents, such as Czarina."""

from __future__ import annotations

import re
from argparse import ArgumentParser, Namespace
from collections import Counter
from dataclasses import dataclass, field
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from typing import Any

from hopper.cli.arguments import ID, PREVIEW, YES, Group, confirmed, flag, option, text_of
from hopper.cli.render.previews import show_preview
from hopper.cli.render.screen import Screen, show_any
from hopper.cli.render.tasks import show_list as show_tasks
from hopper.cli.status_words import spoken
from hopper.cli.transport import Client, CliError, UsageError, at, clean
from hopper.json_values import read_json

ROLE_PRIORITY = {"architect": "high", "qa": "high", "documentation": "low", "docs": "low"}
SOURCE = "czarina"


@dataclass(frozen=True)
class Run:
    """The content of a run: its project, its name, and its workers in order of dependency."""

    project: str
    name: str
    id: str
    description: str = ""
    workers: list[dict[str, Any]] = field(default_factory=list)
    briefs: Path | None = None


def add_commands(parser: ArgumentParser) -> None:
    """Add the group's commands to its parser."""
    add = Group(parser).add
    add(
        "start",
        start,
        show_run_started,
        "create and start a run",
        option("config_json", nargs="?", metavar="CONFIG", help="a Czarina config.json"),
        option("--project", help="id or name; created when missing"),
        option("--name", help="the run's id (default: made of project, version, phase)"),
        option("--description"),
        option("--workers-dir", metavar="DIR", help="the briefs (default: beside CONFIG)"),
        option("--max-concurrent", type=int, metavar="N", help="tasks at a time"),
    )
    add("status", status, show_run_status, "how far a run is", ID)
    force = flag("-f", "--force", help="cancel what is still open")
    help = "close a run and keep its summary"
    add("close", close, show_run_closed, help, ID, force, PREVIEW, YES)


def start(args: Namespace, client: Client) -> dict[str, Any]:
    """Create and start the run's ORCHESTRATION and register each worker's brief as a task.

    All or nothing. Repeating changes nothing: a run is found by its id, a task by its worker.
    """
    run = planned(args)
    body = {
        "project": run.project,
        "id": run.id,
        "name": run.name,
        "description": run.description,
        "config": {"max_concurrent_tasks": args.max_concurrent} if args.max_concurrent else None,
        "tasks": [_task(run, worker) for worker in run.workers],
    }
    started: dict[str, Any] = client.post(at("runs"), clean(body))
    return {**started, "tasks": {name: spoken(row) for name, row in started["tasks"].items()}}


def planned(args: Namespace) -> Run:
    """Return the run that the options and the config file ask for."""
    if args.config_json:
        return from_config(args)
    if not (args.project and args.name):
        raise UsageError("Give a Czarina config.json, or --project and --name.")
    name = _free_name(args.project, args.name)
    return Run(args.project, name, slug(name), args.description or "")


def _free_name(project: str, name: str) -> str:
    """Return the name of a run; the project keeps its own name and id for itself."""
    return f"{name}-run-1" if slug(name) == slug(project) else name


def from_config(args: Namespace) -> Run:
    """Return the run that a Czarina config.json describes."""
    path = Path(args.config_json)
    path = path / "config.json" if path.is_dir() else path
    try:
        config = read_json(text_of(str(path)).encode())
        project = config["project"]
        workers = in_order(config.get("workers") or [])
        name = args.project or project.get("slug") or project["name"]
    except ValueError as error:
        raise CliError(f"{path} is not JSON: {error}.") from error
    except (KeyError, TypeError, AttributeError) as error:
        raise CliError(f"{path} is no Czarina configuration: {error!r}.") from error
    version, phase = project.get("version"), project.get("phase")
    parts = [name, f"v{version}" if version else "", f"phase{phase}" if phase else ""]
    id = _free_name(name, args.name or "-".join(part for part in parts if part))
    return Run(
        project=name,
        name=id,
        id=slug(id),
        description=args.description or project.get("description") or "",
        workers=workers,
        briefs=Path(args.workers_dir) if args.workers_dir else path.parent / "workers",
    )


def in_order(workers: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the workers, each after the workers on which it depends."""
    by_id = {worker["id"]: worker for worker in workers}
    graph = {id: worker.get("dependencies") or () for id, worker in by_id.items()}
    unknown = {name for names in graph.values() for name in names} - by_id.keys()
    if unknown:
        raise CliError(f"Workers depend on unknown ones: {', '.join(sorted(unknown))}.")
    try:
        return [by_id[id] for id in TopologicalSorter(graph).static_order()]
    except CycleError as error:
        raise CliError(f"The workers depend on one another: {' > '.join(error.args[1])}.") from None


def _task(run: Run, worker: dict[str, Any]) -> dict[str, Any]:
    role = str(worker.get("role") or "code")
    brief = run.briefs / f"{worker['id']}.md" if run.briefs else None
    words = str(worker.get("description") or worker.get("mission") or worker["id"])
    return {
        "key": worker["id"],
        "title": f"[{worker['id']}] {words}",
        "description": text_of(str(brief)) if brief and brief.is_file() else words,
        "priority": ROLE_PRIORITY.get(role, "medium"),
        "tags": ["czarina", run.project, tag_of(run), f"worker-{worker['id']}", f"role-{role}"],
        "depends_on": list(worker.get("dependencies") or ()),
        "source": SOURCE,
    }


def tag_of(run: Run) -> str:
    """Return the tag of all tasks of a run."""
    return f"run-{run.id}"


def slug(text: str) -> str:
    """Return the text as an instance's id."""
    return re.sub(r"[^a-z0-9._-]+", "-", text.lower()).strip("-._")[:100] or "run"


def status(args: Namespace, client: Client) -> dict[str, Any]:
    """Return the run's instance, its tasks and their count by status."""
    instance = client.get(at("instances", args.id))
    rows = client.pages(at("tasks"), {"under": args.id})
    rows += client.pages(at("tasks"), {"all_tags": [f"run-{args.id}"]})
    tasks = list({row["id"]: spoken(row) for row in rows}.values())
    tasks.sort(key=lambda task: (str(task.get("created_at")), str(task["id"])))
    counts = Counter(task["status"] for task in tasks)
    return {"instance": instance, "by_status": dict(counts), "tasks": tasks}


def close(args: Namespace, client: Client) -> Any:
    """Close the run. Its summary is stored with the parent (R5)."""
    if args.force and not args.preview:
        confirmed(args, f"Close {args.id} and cancel what is still open?")
    flags = {name: True for name in ("force", "preview") if getattr(args, name)}
    return client.post(at("instances", args.id, "close"), flags)


def show_run_started(data: dict[str, Any], args: Any, screen: Screen) -> None:
    """Show the tasks of a new run."""
    run = data["instance"]
    screen.done(f"Started run: {run['id']}", run["id"])
    screen.remark(f"  {run['scope']} under {data['project']['id']} [{run['status']}]")
    for worker, task in data["tasks"].items():
        known = " (was there)" if task["id"] in data["known"] else ""
        screen.remark(f"  {task['id']}  {worker}{known}")
    if not screen.quiet:
        screen.line(f"  Next: hopper worker NAME --instance {run['id']} -- COMMAND")


def show_run_status(data: dict[str, Any], args: Any, screen: Screen) -> None:
    """Show the progress of a run, task by task."""
    run = data["instance"]
    counts = ", ".join(f"{number} {word}" for word, number in data["by_status"].items())
    screen.line(f"{run['id']} ({run['scope']}) [{run['status']}]: {counts or 'no tasks'}")
    if data["tasks"]:
        show_tasks(data["tasks"], args, screen)


def show_run_closed(data: Any, args: Any, screen: Screen) -> None:
    """Show the summary of the closed run (R5), or the preview of closing it."""
    if args.preview:
        show_preview(data, args, screen)
        return
    screen.done(f"Closed run: {args.id}", args.id)
    if not screen.quiet:
        show_any(data, args, screen)
