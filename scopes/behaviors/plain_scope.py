"""PERSONAL, FAMILY, EVENT and FEDERATED (R1)."""

from __future__ import annotations

from instances.choices import HopperScope
from scopes.behaviors.base import ScopeBehavior, named, weigh, why_out
from scopes.behaviors.explicit import decide_explicit
from scopes.behaviors.global_scope import GlobalScopeBehavior
from scopes.behaviors.project_scope import ProjectScopeBehavior
from scopes.decisions import (
    Answer,
    Considered,
    Decision,
    InstanceFacts,
    Refuse,
    SendTo,
    Situation,
    TaskFacts,
)


class PersonalScopeBehavior(ProjectScopeBehavior):
    """A project of one owner."""


class EventScopeBehavior(ProjectScopeBehavior):
    """A project with an end. After its end the instance drains and routes nothing."""


class FamilyScopeBehavior(ProjectScopeBehavior):
    """A family: PERSONAL children are members, PROJECT children are shared lists."""

    def decide(self, situation: Situation) -> Decision:
        """Return the named list, the owner's child, the best match, or manual handling."""
        explicit = decide_explicit(situation, may_create=False)
        if explicit is not None:
            return explicit
        members = [one for one in situation.candidates if one.scope == HopperScope.PERSONAL]
        member = named(situation.task.owner, members)
        if member is not None:
            return self._to_member(situation, member)
        matched = _MATCHING.match(situation)
        if isinstance(matched, SendTo):
            return matched
        if isinstance(matched, Refuse) and matched.code == "Unroutable":
            return self._refuse_rest(situation, matched)
        return self.decide_execution(situation)

    def _to_member(self, situation: Situation, member: InstanceFacts) -> Decision:
        parts = {"owner": 500.0}
        considered = weigh(situation.task, member, situation.instance, parts, speaks=True)
        reasons = (f"it belongs to {member.id}",)
        if considered.fits:
            return SendTo(reasons, (considered,), target_id=member.id, score=considered.score)
        out = Refuse((*reasons, *why_out([considered])), (considered,))
        return self._refuse_rest(situation, out)

    def go_further_down(
        self, situation: Situation, considered: list[Considered], *reasons: str
    ) -> Decision:
        """Refuse: no child is left. A task that one member owns never goes to another member."""
        return self.refuse_gap(situation, considered, *reasons)

    def _refuse_rest(self, situation: Situation, out: Refuse) -> Decision:
        considered = list(out.considered)
        return self.handle_by_hand(situation, considered, *out.reasons, tried=True)


_MATCHING = GlobalScopeBehavior()


class FederatedScopeBehavior(ScopeBehavior):
    """A place for a remote Hopper. Without a remote every offer is refused (R1)."""

    def decide(self, situation: Situation) -> Decision:
        """Refuse: tasks cannot leave without a remote."""
        return Refuse(("no remote is configured",), code="Unroutable")

    def answer(self, task: TaskFacts, instance: InstanceFacts) -> Answer:
        """Return the refusal NoRemote."""
        return Answer("refuse", "no_remote", f"{instance.id} has no remote configured")
