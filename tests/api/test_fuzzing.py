"""A schema-driven fuzzer finds no 5xx, no undocumented status and no undocumented shape.

Each operation is called as an admin, a worker, a viewer and a stranger in turn. Short by default;
HOPPER_FUZZ=200 (`make fuzz`) sends that many cases to each operation.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from itertools import cycle
from typing import Any

import pytest
import schemathesis
from django.core.wsgi import get_wsgi_application
from hypothesis import HealthCheck, Phase, settings
from schemathesis.specs.openapi.checks import ignored_auth, positive_data_acceptance

from instances.models import HopperInstance, Task
from tests.api.conftest import API
from tests.factories import TaskFactory
from tests.openapi import ADDRESS, AS_JSON
from tests.worlds import kept

pytestmark = pytest.mark.unmeasured

CASES = int(os.environ.get("HOPPER_FUZZ", "4"))

schema = schemathesis.openapi.from_wsgi(ADDRESS, get_wsgi_application(), headers=AS_JSON)
schema.config.generation.with_security_parameters = False


@pytest.fixture
@kept
def _tasks(tree: dict[str, HopperInstance]) -> None:
    """A task at each instance, and an unassigned one."""
    for place in (None, *tree.values()):
        TaskFactory(instance=place)


@pytest.fixture
def callers(caller: Any, tree: dict[str, HopperInstance], _tasks: None) -> Iterator[dict[str, str]]:
    """The credentials of one caller after another, in a tree with tasks."""
    clients = [caller("ada"), caller("bot", "worker", tree["web"]), caller("eve", "viewer")]
    known = [{"Authorization": client._credentials["HTTP_AUTHORIZATION"]} for client in clients]
    return cycle([*known, {}])


@schema.parametrize()
@settings(
    max_examples=CASES,
    deadline=None,
    derandomize=True,
    suppress_health_check=list(HealthCheck),
    phases=[Phase.explicit, Phase.generate] if CASES > 4 else [Phase.generate],
)
def test_every_operation_keeps_its_word(case: Any, callers: Iterator[dict[str, str]]) -> None:
    if "pk" in case.path_parameters and case.path_parameters["pk"] != "nowhere":
        case.path_parameters["pk"] = _an_id(case.path)
    # A valid body may still name an id that there is not: that is 400 on its field. A caller
    # without rights or credentials is refused before the body is judged.
    excluded = [positive_data_acceptance, ignored_auth]
    case.call_and_validate(headers=next(callers), excluded_checks=excluded)


def _an_id(path: str) -> str:
    noun = path.removeprefix(API).strip("/").split("/")[0]
    if noun == "instances":
        return "web-run"
    return str(Task.objects.order_by("-pk").values_list("pk", flat=True).first())
