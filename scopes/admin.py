"""The read-only pages of routing decisions and their reasons."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django.contrib import admin
from django.utils.html import format_html_join
from django.utils.safestring import SafeString

from instances.admin.base import LongListAdmin, Table, column, cut, moment
from scopes.models import Feedback, RoutingDecision

ROWS_SHOWN = 100


@admin.register(RoutingDecision)
class DecisionAdmin(LongListAdmin):
    """Decisions, newest first, each with its candidates and the feedback on it."""

    ordering = ("-id",)
    fields = (
        "task", "instance", "verdict", "target", "code", "why", "rule", "confidence", "epoch",
        "hop", "behavior", "config_digest", "took", "actor", "created_at",
    )  # fmt: skip
    readonly_fields = ("why", "took")
    list_display = (
        column("created_at", "at (UTC)", moment), column("task_id", "task"),
        column("instance_id", "decided at"), "verdict", column("target_id", "target"), "code",
        column("rule", "rule"), "confidence",
    )  # fmt: skip
    list_filter = ("verdict",)
    search_fields = ("=task__id", "=instance__id", "=target__id", "=rule")
    search_help_text = "The whole id of a task, an instance or a rule."

    @admin.display(description="because")
    def why(self, decision: RoutingDecision) -> SafeString | str:
        """Return the reasons, one a line."""
        return format_html_join("", "<div>{}</div>", ([reason] for reason in decision.reasons))

    @admin.display(description="took")
    def took(self, decision: RoutingDecision) -> str:
        """Return the time of reading and deciding, in milliseconds."""
        return f"{decision.elapsed_ms:.1f} ms"

    def tables(self, record: RoutingDecision) -> list[Table]:
        """Return the candidates with their filters and scores, and the feedback."""
        return [_candidates(record), _feedback(record)]


def _candidates(decision: RoutingDecision) -> Table:
    def fate(one: Mapping[str, Any]) -> str:
        if one["instance_id"] == decision.target_id:
            return "chosen"
        out = [f"{name}: {verdict}" for name, verdict in one["filters"].items() if verdict != "ok"]
        return "; ".join(out) or "fits"

    best = sorted(decision.candidates, key=lambda one: (not one["fits"], -one["score"]))
    rows, note = cut(best, ROWS_SHOWN)
    columns = ("candidate", "verdict", "score", "made of", "load", "last asked")
    return Table(
        "Candidates",
        columns,
        [
            (one["instance_id"], fate(one), one["score"], _sum(one["parts"]), one["load"],
             one["last_assigned"])
            for one in rows
        ],
        note,
    )  # fmt: skip


def _sum(parts: Mapping[str, float]) -> str:
    return ", ".join(f"{name.replace('_', ' ')} {points:g}" for name, points in parts.items())


def _feedback(decision: RoutingDecision) -> Table:
    given = Feedback.objects.filter(decision=decision).order_by("id")
    rows, note = cut(given[: ROWS_SHOWN + 1], ROWS_SHOWN)
    answers = {True: "yes", False: "no", None: ""}
    columns = ("at (UTC)", "by", "good match", "better", "quality", "complexity", "notes")
    return Table(
        "Feedback",
        columns,
        [
            (moment(one.created_at), one.created_by, answers[one.was_good_match],
             one.should_have_routed_to, one.quality_score or "", one.complexity_rating or "",
             one.notes)
            for one in rows
        ],
        note,
    )  # fmt: skip
