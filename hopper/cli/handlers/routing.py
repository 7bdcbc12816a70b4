"""`hopper route` and `hopper rules`: previews and records of routing decisions."""

from __future__ import annotations

import re
from argparse import ArgumentParser, Namespace
from typing import Any

from hopper.cli.arguments import ID, Group, on_id, option
from hopper.cli.handlers import local_commands
from hopper.cli.handlers.tasks import add_options, given_fields
from hopper.cli.render.screen import Screen, show_any
from hopper.cli.transport import Client, CliError, at, in_words
from hopper.counts import counted
from hopper.task_fields import CREATE, set_at

TASK_ID = re.compile(r"task-[0-9a-f]+")


def add_route_commands(parser: ArgumentParser) -> None:
    """Add the commands of `route`."""
    add = Group(parser).add
    title = "a task's id, or the title of one that does not exist yet"
    add("preview", preview, show_decisions, "where a task would go", *add_options(title))
    explain = on_id(Client.pages, "tasks", "decisions")
    add("explain", explain, show_decisions, "why a task went where it is", ID)
    help = "make past decisions again, show what differs"
    local_commands.on_database(add("replay", local_commands.call, show_any, help), "replay")


def add_rules_commands(parser: ArgumentParser) -> None:
    """Add the commands of `rules`."""
    add = Group(parser).add
    add("list", rules, show_rules, "list the routing rules in force")
    words = "check these files or folders, not what is in force"
    files = option("files", nargs="*", metavar="FILE", help=words)
    add("check", check, show_any, "fail when a rule or a file is unsound", files)


def preview(args: Namespace, client: Client) -> Any:
    """Return the decisions that a stored or planned task would get. Writes nothing."""
    if TASK_ID.fullmatch(args.title):
        return client.post(at("tasks", args.title, "route"), params={"preview": True})
    return client.post(at("rules", "preview"), given_fields(args, set_at(CREATE)))


def rules(args: Namespace, client: Client) -> list[Any]:
    """Return the rules in force."""
    return client.pages(at("rules"))


def check(args: Namespace, client: Client) -> Any:
    """Return the number of sound rules or files. Raises CliError with the faults of the others.

    Files are read on this machine and checked against their expectations. None comes into force.
    """
    if args.files:
        # Late, because it loads Django.
        from hopper.cli.startup import faults_of

        faults = [fault for file in args.files for fault in faults_of(file)]
        if faults:
            raise CliError("\n".join(faults))
        return {"files": len(args.files), "sound": True}
    report = client.get(at("rules"))
    problems = report.get("problems", ()) if isinstance(report, dict) else ()
    if problems:
        named = "\n".join(f"{one['file']}:{one['line']}: {one['message']}" for one in problems)
        raise CliError(f"The files are broken, and older rules in force:\n{named}")
    found = rules(args, client)
    broken = [row for row in found if row.get("error") or row.get("problems")]
    if broken:
        named = "; ".join(
            f"{row.get('id')}: {row.get('error') or row['problems']}" for row in broken
        )
        raise CliError(f"Unsound: {len(broken)} of {counted(len(found), 'rule')}: {named}")
    return {"rules": len(found), "sound": True}


def show_rules(data: list[dict[str, Any]], args: Any, screen: Screen) -> None:
    """List routing rules, one for each line."""
    if not data:
        screen.line("No rules.")
        return
    columns = ("id", "type", "destination", "weight", "priority", "enabled", "name")
    rows = [[*(in_words(row.get(name)) for name in columns), _matches(row)] for row in data]
    screen.table([*(name.capitalize() for name in columns), "Good matches"], rows)


def _matches(row: dict[str, Any]) -> str:
    """Return the good judgements of a rule's choices, out of all judgements."""
    good, judged = row.get("good_matches", 0), row.get("judged", 0)
    return f"{good} of {judged} ({row['accuracy']:.0%})" if judged else "-"


def show_decisions(data: Any, args: Any, screen: Screen) -> None:
    """Show hop by hop where a task goes, with the reasons for each candidate."""
    rows = data if isinstance(data, list) else data.get("decisions") or [data]
    if not rows:
        screen.line("Nothing was decided yet.")
    for row in rows:
        target = f" to {row['target_id']}" if row.get("target_id") else ""
        screen.line(f"{row.get('instance_id') or '-'}: {row.get('verdict')}{target}")
        if row.get("answer") in ("wait", "refuse"):
            screen.line(f"  which would {row['answer']}: {row['answer_reason']}")
        screen.lines(f"  because {in_words(reason)}" for reason in row.get("reasons") or ())
        screen.lines(f"  - {_candidate(candidate)}" for candidate in row.get("candidates") or ())


def _candidate(candidate: dict[str, Any]) -> str:
    refused = [f"{name} {why}" for name, why in candidate["filters"].items() if why != "ok"]
    figures = f"score {candidate['score']}, load {candidate['load']}"
    fits = "fits" if candidate["fits"] else f"does not fit ({', '.join(refused)})"
    return f"{candidate['instance_id']} {fits}, {figures}"
