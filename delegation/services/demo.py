"""The example hierarchy of `hopper_demo`: read from a file, built through the services."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import yaml

from hopper.errors import Conflict
from instances.choices import InstanceStatus
from instances.models import HopperInstance
from instances.services.lifecycle import start_instance
from instances.services.tree import create_instance

if TYPE_CHECKING:
    from pathlib import Path

    from hopper.actors import Actor


@dataclass(frozen=True)
class Story:
    """What the demo is about: the hierarchy (nested) and the tasks that come in at its root."""

    root: dict[str, Any]
    tasks: list[dict[str, Any]]

    @property
    def runs(self) -> list[str]:
        """The ids of the orchestrations, in the order of the file."""
        return [node["id"] for node in _nodes(self.root) if node["scope"] == "ORCHESTRATION"]


@dataclass
class Built:
    """Which instances were made, and which were there already, by id."""

    made: list[str] = field(default_factory=list)
    found: list[str] = field(default_factory=list)


def read_story(path: Path) -> Story:
    """Return the story in a file."""
    data = yaml.safe_load(path.read_text(encoding="utf-8"))
    return Story(data["instances"], data["tasks"])


def build_hierarchy(story: Story, *, actor: Actor) -> Built:
    """Create and start what is missing of the hierarchy, parents first.

    What is there stays as it is, but for being started. Raises Conflict where one of the ids is
    terminated, for an id is never used twice.
    """
    built = Built()
    _grow(story.root, None, built, actor)
    return built


def _grow(node: dict[str, Any], parent_id: str | None, built: Built, actor: Actor) -> None:
    known = HopperInstance.objects.filter(pk=node["id"]).first()
    if known is None:
        known = create_instance(
            node["id"],
            id=node["id"],
            scope=node["scope"],
            parent_id=parent_id,
            config=node.get("config"),
            description=node.get("description", ""),
            actor=actor,
        )
        built.made.append(known.pk)
    else:
        built.found.append(known.pk)
    if not known.is_live:
        raise Conflict(
            f"{known.pk} is terminated, and an id is never used twice. "
            "Give the demo a new store: HOPPER_DATABASE_URL=sqlite:///FILE.",
            state=known.status,
        )
    if known.status in (InstanceStatus.CREATED, InstanceStatus.STOPPED):
        start_instance(known.pk, actor=actor)
    for child in node.get("children", ()):
        _grow(child, known.pk, built, actor)


def _nodes(node: dict[str, Any]) -> list[dict[str, Any]]:
    return [node, *(below for child in node.get("children", ()) for below in _nodes(child))]
