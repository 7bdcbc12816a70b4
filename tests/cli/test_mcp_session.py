"""An MCP session holds the leases of its agent while it lasts, and gives them back at its end."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any

import anyio
import pytest
import time_machine
from django.db import connections
from django.utils import timezone
from mcp import Client
from mcp_types import ElicitResult

from hopper.cli.local import LocalTransport
from hopper.cli.mcp.server import build_server
from hopper.cli.mcp.session import SessionLeases
from hopper.cli.transport import Client as HopperClient
from instances.models import Attempt, Task
from instances.tasks.leases import expire_leases
from instances.tasks.worker import claim_next
from tests.factories import ALICE, InstanceFactory, TaskFactory

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("sound")]


@pytest.fixture(autouse=True)
def _connections_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the threads of the tools leave no connection behind."""
    monkeypatch.setitem(connections.settings["default"], "CONN_MAX_AGE", 0)


Ask = Callable[..., Awaitable[Any]]


class Clock:
    """The clock of the session, which the test moves together with the database's."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def __call__(self) -> float:
        return self.seconds


class Agent:
    """An agent on the official SDK whose MCP server runs in this process."""

    def __init__(self) -> None:
        self.clock = Clock()
        hopper = HopperClient(LocalTransport())
        self.session = SessionLeases(hopper, "agent-1", self.clock)
        self.server = build_server(hopper, self.session)

    def does(self, story: Callable[[Ask], Awaitable[None]], **options: Any) -> None:
        """Run the story of one session; the leases are left as they are."""

        async def spoken() -> None:
            async with Client(self.server, **options) as client:

                async def ask(name: str, **arguments: Any) -> Any:
                    answer = await client.call_tool(name, arguments)
                    assert not answer.is_error, answer.content
                    return answer.structured_content

                await story(ask)

        anyio.run(spoken)

    def works_for(self, minutes: float, clock: time_machine.Traveller) -> None:
        """Let time pass in which the agent says nothing; sweeps look for lost leases."""
        for _ in range(int(minutes * 6)):
            self.clock.seconds += 10
            clock.shift(timedelta(seconds=10))
            self.session.beat_where_due()
            expire_leases()


@pytest.fixture
def agent() -> Agent:
    """An agent that has claimed nothing yet."""
    return Agent()


@pytest.fixture
def run() -> str:
    """A running instance with one task of its own."""
    project = InstanceFactory(scope="PROJECT", name="web")
    queue = InstanceFactory(scope="ORCHESTRATION", name="run", parent=project)
    TaskFactory(instance=queue, title="Long work")
    return str(queue.pk)


def test_a_call_of_twenty_minutes_keeps_a_lease_of_thirty_seconds(agent: Agent, run: str) -> None:
    with time_machine.travel(timezone.now(), tick=False) as clock:

        async def story(ask: Ask) -> None:
            claimed = await ask("claim_task", instance_id=run, lease_seconds=30)
            task_id = claimed["tasks"][0]["id"]
            await anyio.to_thread.run_sync(agent.works_for, 20, clock)
            done = await ask("complete_task", task_id=task_id, result={"ok": True})
            assert done["status"] == "done"

        agent.does(story)
    assert [row.outcome for row in Attempt.objects.all()] == ["completed"]


def test_nobody_else_gets_the_task_meanwhile(agent: Agent, run: str) -> None:
    with time_machine.travel(timezone.now(), tick=False) as clock:

        async def story(ask: Ask) -> None:
            await ask("claim_task", instance_id=run, lease_seconds=30)

        agent.does(story)
        agent.works_for(20, clock)
        assert claim_next(run, worker="other", actor=ALICE).leases == []


def test_the_end_of_the_session_gives_the_task_and_its_checkpoint_on(
    agent: Agent, run: str
) -> None:
    async def story(ask: Ask) -> None:
        claimed = await ask("claim_task", instance_id=run)
        task_id = claimed["tasks"][0]["id"]
        await ask("heartbeat", task_id=task_id, checkpoint={"step": 3})

    agent.does(story)
    agent.session.end()
    (lease,) = claim_next(run, worker="other", actor=ALICE).leases
    assert lease.checkpoint == {"step": 3}
    assert [row.outcome for row in Attempt.objects.order_by("number")] == ["released", None]


def test_a_task_given_back_has_used_no_attempt(agent: Agent, run: str) -> None:
    task = Task.objects.get()
    Task.objects.update(max_attempts=1)

    async def story(ask: Ask) -> None:
        await ask("claim_task", instance_id=run)

    agent.does(story)
    agent.session.end()
    task.refresh_from_db()
    assert task.status == "pending"


def test_a_claim_that_is_granted_after_the_end_is_given_back_too(agent: Agent, run: str) -> None:
    agent.session.end()

    async def story(ask: Ask) -> None:
        await ask("claim_task", instance_id=run)

    agent.does(story)
    assert Task.objects.get().status == "pending"


def test_the_beats_stop_after_the_longest_run_of_an_attempt(agent: Agent, run: str) -> None:
    Task.objects.update(max_runtime_seconds=600)
    with time_machine.travel(timezone.now(), tick=False) as clock:

        async def story(ask: Ask) -> None:
            await ask("claim_task", instance_id=run, lease_seconds=30)

        agent.does(story)
        agent.works_for(9, clock)
        assert Task.objects.get().status == "claimed"
        agent.works_for(3, clock)
    assert [row.outcome for row in Attempt.objects.all()] == ["expired"]


def test_a_task_taken_from_the_agent_is_held_no_longer(agent: Agent, run: str) -> None:
    async def story(ask: Ask) -> None:
        claimed = await ask("claim_task", instance_id=run)
        await ask("cancel_task", task_id=claimed["tasks"][0]["id"])

    agent.does(story)
    assert len(agent.session.task_ids()) == 1
    agent.clock.seconds += 10
    agent.session.beat_where_due()
    assert agent.session.task_ids() == []


@pytest.mark.parametrize("mode", ["legacy", "2026-07-28"])
def test_the_person_at_the_client_answers_and_the_agent_goes_on(
    agent: Agent, run: str, mode: str
) -> None:
    asked: list[str] = []

    async def person(context: Any, params: Any) -> ElicitResult:
        asked.append(params.message)
        return ElicitResult(action="accept", content={"answer": "MIT"})

    async def story(ask: Ask) -> None:
        claimed = await ask("claim_task", instance_id=run)
        task_id = claimed["tasks"][0]["id"]
        question = {"question": "Which licence?", "choices": ["MIT", "Apache-2.0"]}
        task = await ask("ask_question", task_id=task_id, **question)
        assert task["questions"][0]["answer"] == "MIT"
        assert (await ask("complete_task", task_id=task_id))["status"] == "done"

    agent.does(story, elicitation_callback=person, mode=mode)
    assert asked == ["Which licence?"]


@pytest.mark.parametrize("mode", ["legacy", "2026-07-28"])
def test_a_question_that_the_person_declines_stays_open(agent: Agent, run: str, mode: str) -> None:
    async def person(context: Any, params: Any) -> ElicitResult:
        return ElicitResult(action="decline")

    async def story(ask: Ask) -> None:
        claimed = await ask("claim_task", instance_id=run)
        task_id = claimed["tasks"][0]["id"]
        task = await ask("ask_question", task_id=task_id, question="Which licence?")
        assert task["waiting_on"]["code"] == "InputRequired"

    agent.does(story, elicitation_callback=person, mode=mode)


def test_waiting_for_an_answer_ends_when_it_comes(agent: Agent, run: str) -> None:
    async def story(ask: Ask) -> None:
        claimed = await ask("claim_task", instance_id=run)
        task_id = claimed["tasks"][0]["id"]
        await ask("ask_question", task_id=task_id, question="Which licence?")
        began = time.monotonic()
        async with anyio.create_task_group() as both:
            both.start_soon(ask_to_answer, ask, task_id)
            (row,) = (await ask("list_questions", task_id=task_id, wait_seconds=30))["result"]
        assert (row["state"], row["answer"]) == ("answered", "MIT")
        assert time.monotonic() - began < 25
        again = await ask("claim_task", task_id=task_id)
        assert again["tasks"][0]["questions"][0]["answer"] == "MIT"

    async def ask_to_answer(ask: Ask, task_id: str) -> None:
        await anyio.sleep(0.2)
        await ask("answer_question", task_id=task_id, answer="MIT")

    agent.does(story)


def test_a_session_takes_up_what_a_session_of_its_name_held(agent: Agent, run: str) -> None:
    async def first(ask: Ask) -> None:
        claimed = await ask("claim_task", instance_id=run)
        await ask("heartbeat", task_id=claimed["tasks"][0]["id"], checkpoint={"step": 3})

    async def second(ask: Ask) -> None:
        told = await ask("resume_work")
        (task_id,) = told["task_ids"]
        assert '{"step": 3}' in told["briefing"]
        assert (await ask("complete_task", task_id=task_id))["status"] == "done"

    agent.does(first)
    # The first process was killed: nothing was given back.
    Agent().does(second)
