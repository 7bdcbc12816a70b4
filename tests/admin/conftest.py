"""A browser for the admin, and the family of instances that its tests look at."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest
from django.contrib.auth import get_user_model
from django.contrib.messages import get_messages
from django.test import Client
from django.urls import reverse

from tests.factories import InstanceFactory
from tests.soundness import unsound

if TYPE_CHECKING:
    from collections.abc import Iterator

    from instances.models import HopperInstance


INLINE = re.compile(
    r'<style|\sstyle="|\son[a-z]+="|javascript:|<script(?![^>]*(?:\ssrc=|application/json))[^>]*>'
)
"""What the Content-Security-Policy of the pages does not let through."""


@dataclass
class Site:
    """A person at the admin."""

    client: Client

    def get(self, page: str, *args: Any) -> Any:
        """Open a page by its name. A page that is shown needs nothing but its files."""
        answer = self.client.get(reverse(f"admin:{page}", args=args))
        if answer.status_code == 200:
            policy = answer.headers["Content-Security-Policy"]
            assert "script-src 'self'; style-src 'self'" in policy
            assert "unsafe" not in policy
            assert INLINE.findall(answer.content.decode()) == []
        return answer

    def post(self, page: str, *args: Any, **fields: Any) -> Any:
        """Send a form; what the site said before is taken as read."""
        self.client.cookies.pop("messages", None)
        return self.client.post(reverse(f"admin:{page}", args=args), fields)

    def act(self, model: str, action: str, *rows: Any, **answers: Any) -> list[str]:
        """Run an action on rows; return what the site says."""
        answer = self.post(
            f"{model}_changelist",
            action=action,
            _selected_action=[row.pk for row in rows],
            **answers,
        )
        return said(answer)

    def drag(self, what: Any, to: Any, position: str = "last-child") -> list[str]:
        """Drop an instance on or beside another; return what the site says."""
        answer = self.post(
            "instances_hopperinstance_changelist",
            cmd="move_node",
            position=position,
            cut_item=what.pk,
            pasted_on=to.pk,
        )
        return said(answer)


def said(response: Any) -> list[str]:
    """Return the messages that came with a response."""
    return [str(message) for message in get_messages(response.wsgi_request)]


def _site(**rights: bool) -> Site:
    user = get_user_model().objects.create_user("alice", password="secret", **rights)
    client = Client()
    client.force_login(user)
    return Site(client)


@pytest.fixture(autouse=True)
def only_the_admin(settings: Any) -> None:
    settings.ROOT_URLCONF = "tests.admin.urls"


@pytest.fixture(autouse=True)
def every_invariant_holds(db: None) -> Iterator[None]:
    """The invariants hold at the end of each test."""
    yield
    # Inside a test's transaction nothing is placed: what is due stays due (I21).
    assert [finding for finding in unsound() if finding.invariant != "I21"] == []


@pytest.fixture
def site(db: None) -> Site:
    """The admin as a superuser sees it."""
    return _site(is_staff=True, is_superuser=True)


@pytest.fixture
def onlooker(db: None) -> Site:
    """The admin as other staff see it."""
    return _site(is_staff=True)


@dataclass
class Family:
    """A small tree: GLOBAL, two projects, an orchestration below the first."""

    top: HopperInstance
    web: HopperInstance
    data: HopperInstance
    run: HopperInstance


@pytest.fixture
def family(db: None) -> Family:
    """The tree, all running."""
    top = InstanceFactory(name="top")
    web = InstanceFactory(name="web", scope="PROJECT", parent=top, config={"capabilities": ["web"]})
    data = InstanceFactory(name="data", scope="PROJECT", parent=top)
    run = InstanceFactory(name="run", scope="ORCHESTRATION", parent=web)
    return Family(top, web, data, run)
