"""Callers of the REST interface: an admin, others by role, and a hierarchy to work in."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.contrib.auth import get_user_model
from rest_framework.test import APIClient

from instances.models import AgentToken, HopperInstance
from tests.factories import InstanceFactory
from tests.soundness import unsound
from tests.worlds import kept

API = "/api/v1"


class Caller(APIClient):
    """A client that speaks JSON below /api/v1 and hears problems instead of exceptions."""

    def call(self, method: str, path: str, body: Any = None, **headers: str) -> Any:
        """Return the answer to one call."""
        extra = {"data": body, "format": "json"} if body is not None else {}
        return getattr(self, method.lower())(f"{API}{path}", headers=headers, **extra)

    def ask(self, path: str, **params: Any) -> Any:
        """Return the body of a GET that must succeed."""
        answer = self.get(f"{API}{path}", params)
        assert answer.status_code == 200, answer.content
        return answer.json()

    def tell(self, path: str, body: Any = None, status: int = 200, **headers: str) -> Any:
        """Return the body of a POST that must answer `status`."""
        answer = self.call("POST", path, {} if body is None else body, **headers)
        assert answer.status_code == status, answer.content
        return answer.json()


@pytest.fixture
def caller() -> Callable[..., Caller]:
    """`caller(name, role, instance)`: a client with a token of that role, everywhere or there."""

    def make(name: str, role: str = "admin", instance: HopperInstance | None = None) -> Caller:
        user, _ = get_user_model().objects.get_or_create(username=name)
        _, secret = AgentToken.objects.create(user, name=name, role=role, instance=instance)
        client = Caller(raise_request_exception=False)
        client.credentials(HTTP_AUTHORIZATION=f"Bearer {secret}")
        return client

    return make


@pytest.fixture
def ada(caller: Callable[..., Caller]) -> Caller:
    """An admin everywhere."""
    return caller("ada")


@pytest.fixture
def nobody() -> Caller:
    """A caller without credentials."""
    return Caller(raise_request_exception=False)


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


@pytest.fixture(autouse=True)
def sound(transactional_db: None) -> Iterator[None]:
    """Every test of the interface ends with the invariants proven."""
    yield
    assert unsound() == []
