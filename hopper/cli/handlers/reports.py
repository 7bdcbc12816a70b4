"""A worker's reports: sent with the lease that this session keeps."""

from __future__ import annotations

import os
from argparse import Namespace
from typing import Any

from hopper.cli.arguments import user_name
from hopper.cli.leases import KeptLeases
from hopper.cli.transport import Client, Refused, at, clean
from hopper.cli.worker.answers import Meaning, of_report, require_done


def report(args: Namespace, client: Client, verb: str, *, ends: bool = True, **fields: Any) -> Any:
    """Send a report about the task of the command, and return the answer.

    The token is the given one, else that of the worker's command, else the one that this session
    keeps. `ends`: the report ends the lease, and the session keeps it no longer.
    """
    kept = KeptLeases.of(args)
    body = clean({**credentials(args, kept), **fields})
    try:
        answer = client.post(at("tasks", args.id, verb), body)
    except Refused as refusal:
        if of_report(refusal) is Meaning.OVER and refusal.code != "token_required":
            kept.forget(args.id)
        if refusal.code == "token_required":
            refusal.hint = (
                "This session keeps no lease of the task. Give --lease-token, or run the command "
                "in the session that claimed it (HOPPER_SESSION names a session)."
            )
        raise
    if ends:
        kept.forget(args.id)
    else:
        kept.extended(args.id)
    return answer


def complete_and_claim(
    args: Namespace, client: Client, instance_id: str, **fields: Any
) -> dict[str, Any]:
    """Report the task of the command as done and claim the next one of an instance, in one call.

    Raises Refused for a refused report; the session then keeps the lease that it got.
    """
    kept = KeptLeases.of(args)
    report = clean({**credentials(args, kept), **fields, "id": args.id})
    worker = report.pop("worker")
    body = {"worker": worker, "completed": [report]}
    answer: dict[str, Any] = client.post(at("instances", instance_id, "next"), body)
    for task in answer["tasks"]:
        kept.keep(task, worker)
    require_done(answer)
    kept.forget(args.id)
    return answer


def credentials(args: Namespace, kept: KeptLeases) -> dict[str, Any]:
    """Return the worker and the lease's token of a report."""
    token = args.lease_token
    if os.environ.get("HOPPER_TASK_ID") == args.id:
        token = token or os.environ.get("HOPPER_LEASE_TOKEN")
    if token:
        return {"worker": args.worker or user_name(), "token": token}
    lease = kept.find(args.id, args.worker)
    if lease is None:
        return {"worker": args.worker or user_name()}
    return {"worker": lease.worker, "token": lease.token}
