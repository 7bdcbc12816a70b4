"""`hopper task ask`, `answer`, `questions`, `comment`, `comments`; `hopper attention` (R11)."""

from __future__ import annotations

import sys
from argparse import Namespace
from typing import Any

from hopper.cli.arguments import ID, LEASE, Group, HopperParser, bind, flag, on_id, option
from hopper.cli.handlers.reports import report
from hopper.cli.render import questions as render
from hopper.cli.render.tasks import show_status
from hopper.cli.status_words import spoken
from hopper.cli.transport import Client, UsageError, at, clean
from hopper.cli.waiting import awaited_answer


def add_commands(group: Group) -> None:
    """Add the commands about questions to the group `task`."""
    add = group.add
    add(
        "ask",
        ask,
        render.show_asked,
        "ask a person about a task (R11)",
        ID,
        option("--question", required=True, metavar="TEXT"),
        option("--choice", action="append", metavar="TEXT", help="one answer of several"),
        option("--default", metavar="TEXT", help="the answer at the time-out"),
        option("--timeout", type=int, metavar="SECONDS", help="then the default, or raised"),
        *LEASE,
    )
    add(
        "answer",
        answer,
        show_status,
        "answer the open question of a task (R11)",
        ID,
        option("--answer", metavar="TEXT", help="asked for on a terminal"),
        option("--question-id", metavar="ID", help="required without a terminal"),
        flag("--no-return", help="not back to where it was asked"),
    )
    text = option("text", help="what to say about it")
    add("comment", comment, render.show_commented, "comment on a task", ID, text)
    comments = on_id(Client.pages, "tasks", "comments")
    add("comments", comments, render.show_comments, "list the comments on a task", ID)
    until = "until no question is open"
    wait = option("--wait", type=int, default=0, metavar="SECONDS", help=until)
    add("questions", questions, render.show_questions, "list questions and answers", ID, wait)


def attention_options(parser: HopperParser) -> None:
    """Make a parser the command `attention`."""
    mine = flag("--mine", help="only what you may move")
    instance = option("--instance", metavar="ID", help="held there or below it")
    bind(parser, attention, render.show_attention, mine, instance)


def ask(args: Namespace, client: Client) -> Any:
    """Ask a question about a task; its lease ends, the task waits for the answer."""
    terms = {"choices": args.choice, "default": args.default, "timeout_seconds": args.timeout}
    return spoken(report(args, client, "ask", question=args.question, **terms))


def answer(args: Namespace, client: Client) -> Any:
    """Answer a question; on a terminal the open one, which is shown first."""
    terminal = args.interactive and sys.stdin.isatty()
    if not terminal and not (args.question_id and args.answer):
        raise UsageError("Without a terminal give --question-id and --answer.")
    question = {"id": args.question_id}
    if terminal:
        question = _chosen(client.pages(at("tasks", args.id, "questions")), args)
        sys.stderr.write("\n".join(render.question_lines(question)) + "\n")
    body = {
        "question_id": question["id"],
        "answer": args.answer or _typed(),
        "return": False if args.no_return else None,
    }
    return spoken(client.post(at("tasks", args.id, "answer"), clean(body)))


def questions(args: Namespace, client: Client) -> list[Any]:
    """Return the questions about a task, oldest first, once answered or after the wait."""
    return awaited_answer(client, args.id, args.wait)


def comment(args: Namespace, client: Client) -> Any:
    """Comment on a task."""
    return client.post(at("tasks", args.id, "comments"), {"text": args.text})


def attention(args: Namespace, client: Client) -> Any:
    """Return what waits for a person, grouped by who can move it."""
    params = {"mine": True if args.mine else None, "under": args.instance}
    return client.get(at("attention"), params)


def _chosen(rows: list[dict[str, Any]], args: Namespace) -> dict[str, Any]:
    """Return the question that is meant: the named one, else the open one."""
    wanted = [
        row
        for row in rows
        if (row["id"] == args.question_id if args.question_id else row["state"] == "open")
    ]
    if not wanted:
        raise UsageError(f"{args.id} has no {'such' if args.question_id else 'open'} question.")
    return wanted[0]


def _typed() -> str:
    sys.stderr.write("Answer: ")
    sys.stderr.flush()
    text = sys.stdin.readline().strip()
    if not text:
        raise UsageError("There is no answer.")
    return text
