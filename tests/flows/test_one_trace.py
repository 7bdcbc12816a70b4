"""A task keeps its trace: the spans of server and worker join it, from GLOBAL down and back up."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from hopper import tracing
from hopper.cli.local import LocalTransport
from hopper.cli.main import run
from hopper.cli.parser import build_parser
from instances.models import HopperInstance, Task
from tests.api.conftest import Caller, ada, caller, tree

__all__ = ["ada", "caller", "tree"]

pytestmark = pytest.mark.django_db(transaction=True)

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
GIVEN = f"00-{TRACE}-00f067aa0ba902b7-01"
SHOW_TRACE = "import json, os; print(json.dumps({'trace': os.environ['TRACEPARENT']}))"


@pytest.fixture
def spans(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[], list[Any]]]:
    """The spans that have ended, in the order of their beginning."""
    exporter, provider = InMemorySpanExporter(), TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    monkeypatch.setattr(trace, "get_tracer", provider.get_tracer)
    yield lambda: sorted(exporter.get_finished_spans(), key=lambda span: span.start_time or 0)
    provider.shutdown()


def work_at(place: str) -> None:
    """Let a worker do one task with a command that tells its trace."""
    words = ["worker", "w", "--instance", place, "--max-tasks", "1"]
    args = build_parser().parse_args([*words, "--", sys.executable, "-c", SHOW_TRACE])
    assert run(args, LocalTransport(None), io.StringIO()) == 0


def test_one_trace_goes_from_global_to_the_worker_and_back(
    ada: Caller, tree: dict[str, HopperInstance], spans: Callable[[], list[Any]]
) -> None:
    body = {
        "title": "x", "instance_id": "top", "project": "web",
        "executor_preference": "orchestration",
    }  # fmt: skip
    task = ada.tell("/tasks", body, 201, traceparent=GIVEN)
    assert task["instance_id"] == "web-run"
    work_at("web-run")
    found = [span for span in spans() if span.attributes.get("hopper.task_id") == task["id"]]
    assert {f"{span.context.trace_id:032x}" for span in found} == {TRACE}
    assert [span.name.removeprefix("hopper ") for span in found] == [
        "create task", "place task", "place task", "claim task", "work on task", "done task",
    ]  # fmt: skip
    hops = [span.attributes["hopper.instance_id"] for span in found[1:3]]
    assert hops == ["top", "web"]
    create, worker, done = found[0], found[4], found[5]
    assert create.parent.span_id == int(GIVEN.split("-")[2], 16)
    assert worker.parent.span_id == create.context.span_id
    assert done.parent.span_id == worker.context.span_id
    kept = Task.objects.get(pk=task["id"])
    assert kept.traceparent == f"00-{TRACE}-{create.context.span_id:016x}-01"
    assert kept.result == {"trace": f"00-{TRACE}-{worker.context.span_id:016x}-01"}


def test_a_task_keeps_the_trace_of_its_request_without_spans(
    ada: Caller, tree: dict[str, HopperInstance], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tracing, "_api", lambda: None)
    other = GIVEN.replace("4bf9", "aaaa")
    place = {"title": "x", "instance_id": "web-run"}
    by_header = ada.tell("/tasks", place, 201, traceparent=GIVEN)
    by_field = ada.tell("/tasks", {**place, "traceparent": other}, 201, traceparent=GIVEN)
    assert [one["traceparent"] for one in (by_header, by_field)] == [GIVEN, other]
    children = ada.tell(f"/tasks/{by_header['id']}/decompose", {"children": [{"title": "y"}]}, 201)
    assert children[0]["traceparent"] == GIVEN, "a child is in the trace of its parent"
    assert ada.tell("/tasks", place, 201)["traceparent"] == ""
    work_at("web-run")
    assert Task.objects.get(pk=by_field["id"]).result == {"trace": other}


@pytest.mark.parametrize(
    "wrong", ["", "x", GIVEN.upper(), GIVEN.replace(TRACE, "0" * 32), GIVEN[:-1], f"{GIVEN}-00"]
)
def test_what_is_no_traceparent_is_ignored(
    ada: Caller, tree: dict[str, HopperInstance], wrong: str
) -> None:
    made = ada.tell("/tasks", {"title": "x", "instance_id": "web-run"}, 201, traceparent=wrong)
    assert made["traceparent"] == ""


def test_a_failure_of_a_service_is_not_changed_by_its_span(
    spans: Callable[[], list[Any]],
) -> None:
    with pytest.raises(ValueError, match="mine"), tracing.span("try", GIVEN):
        raise ValueError("mine")
    assert spans()[0].status.status_code.name == "ERROR"


def test_opentelemetry_is_not_imported_by_hopper() -> None:
    code = (
        "import json, sys; from hopper import tracing; import hopper.cli.http\n"
        "with tracing.span('x', task_id='t') as kept: pass\n"
        "print(json.dumps([m for m in sys.modules if m.startswith('opentelemetry')]))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) == []
