"""A browser without scripts at the pages, people with roles, and a tree to look at."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django.test import Client

from delegation.pages.watch import WATCH, Watch
from instances.models import Grant, HopperInstance
from tests.factories import InstanceFactory
from tests.soundness import unsound
from tests.worlds import kept

SCRIPT = {"X-Fragment": "1"}
"""The header of the pages' own script."""


class Person(Client):
    """A signed-in person."""

    def see(self, address: str, status: int = 200, **query: Any) -> str:
        """Return the text of a page."""
        answer = self.get(address, query)
        assert answer.status_code == status, answer.content
        return str(answer.content.decode())

    def press(self, address: str, status: int = 302, **boxes: Any) -> Any:
        """Send a form; return the answer."""
        answer = self.post(address, boxes)
        assert answer.status_code == status, answer.content
        return answer

    def row(self, name: str) -> str:
        """Return the words of an instance's row in the tree, "" for none."""
        found = re.search(rf'<tr id="i-{re.escape(name)}".*?</tr>', self.see("/"), re.DOTALL)
        return " ".join(re.sub(r"<[^>]+>", " ", found[0]).split()) if found else ""


@pytest.fixture
def person() -> Callable[..., Person]:
    """`person(name, role, instance)`: somebody with a grant there, a superuser without a role."""

    def sign_in(name: str, role: str = "", at: HopperInstance | None = None) -> Person:
        user = get_user_model().objects.create_user(name, is_superuser=not role)
        if role:
            Grant.objects.create(user=user, role=role, instance=at)
        client = Person()
        client.force_login(user)
        return client

    return sign_in


@pytest.fixture
def ada(tree: dict[str, HopperInstance], person: Callable[..., Person]) -> Person:
    """An admin everywhere."""
    return person("ada")


@pytest.fixture
@kept
def tree(transactional_db: None) -> dict[str, HopperInstance]:
    """A GLOBAL over two projects with capabilities, an orchestration under each; all running."""
    top = InstanceFactory(name="top")
    found = {"top": top}
    for name in ("web", "ops"):
        config = {"capabilities": [name]}
        project = InstanceFactory(scope="PROJECT", parent=top, name=name, config=config)
        run = InstanceFactory(scope="ORCHESTRATION", parent=project, name=f"{name}-run")
        found |= {name: project, f"{name}-run": run}
    return found


@pytest.fixture
def watch() -> Watch:
    """The watch of a process, which every test begins anew."""
    return WATCH


@pytest.fixture(autouse=True)
def sound(transactional_db: None) -> Iterator[None]:
    """Every test of the pages ends with the invariants proven."""
    yield
    assert unsound() == []
