"""Every pair of states of the three machines, held against the words of R2, R7 and R19."""

from __future__ import annotations

import itertools

import pytest

from delegation.choices import DelegationStatus
from hopper.cli import status_words
from hopper.errors import InvalidTransition
from hopper.protocol import (
    ACTIONS,
    ASKED_FOR,
    CLI_WORDS,
    DELEGATION,
    ENDED,
    INSTANCE,
    PARENTS,
    PRIORITIES,
    TASK,
    StateMachine,
)
from instances.choices import TERMINAL, HopperScope, InstanceStatus, TaskPriority, TaskStatus

R2 = """created > starting, terminated, error. starting > running, stopping, error, terminated.
running > paused, stopping, error, terminated. paused > running, stopping, error, terminated.
stopping > stopped, error, terminated. stopped > starting, error, terminated.
error > starting, running, stopping, terminated. terminated > nothing."""
R19 = """pending > claimed, in_progress, blocked, cancelled, done.
claimed > in_progress, pending, blocked, done, failed, cancelled.
in_progress > pending, blocked, done, failed, cancelled.
blocked > pending, in_progress, cancelled, failed, done.
done > pending. failed > pending. cancelled > pending."""
R7 = """pending > accepted, rejected, expired, cancelled. accepted > completed, failed, cancelled.
rejected > nothing. completed > nothing. expired > nothing. failed > nothing. cancelled > nothing.
"""
MACHINES = (
    (INSTANCE, R2, InstanceStatus.values, 64),
    (TASK, R19, TaskStatus.values, 49),
    (DELEGATION, R7, DelegationStatus.values, 49),
)
PAIRS = [
    pytest.param(machine, rule, before, after, id=f"{machine.noun}-{before}-{after}")
    for machine, rule, states, _ in MACHINES
    for before, after in itertools.product(states, states)
]


def _after(rule: str, state: str) -> list[str]:
    """Return what may follow a state by the words of a rule."""
    for sentence in " ".join(rule.split()).split(". "):
        before, _, after = sentence.strip(" .").partition(" > ")
        if before == state:
            return [] if after == "nothing" else sorted(after.split(", "))
    raise LookupError(state)


@pytest.mark.parametrize(("machine", "rule", "before", "after"), PAIRS)
def test_a_pair_is_legal_exactly_where_the_rule_says(
    machine: StateMachine, rule: str, before: str, after: str
) -> None:
    legal = _after(rule, before)
    assert machine.permits(before, after) == (after in legal)
    if after in legal:
        machine.require(before, after)
        return
    with pytest.raises(InvalidTransition) as refusal:
        machine.require(before, after, "it")
    said = refusal.value.extra
    assert (said["state"], said["requested"], said["allowed"]) == (before, after, legal)
    assert before in refusal.value.detail
    assert after in refusal.value.detail


@pytest.mark.parametrize(("machine", "rule", "states", "pairs"), MACHINES)
def test_the_tables_and_the_columns_know_the_same_words(
    machine: StateMachine, rule: str, states: list[str], pairs: int
) -> None:
    assert set(machine.transitions) == set(states)
    assert len(states) ** 2 == pairs


def test_the_other_words_are_those_of_the_columns() -> None:
    assert set(PARENTS) == set(HopperScope.values)
    assert list(PRIORITIES) == TaskPriority.values
    assert set(ENDED) == set(TERMINAL)
    assert set(CLI_WORDS) == set(TaskStatus.values)
    assert all(CLI_WORDS[status] == word for word, status in ASKED_FOR.items())


def test_every_action_walks_edges_of_the_table() -> None:
    for name, action in ACTIONS.items():
        for source in action.sources:
            way = (source, *action.ahead(source))
            assert all(INSTANCE.permits(*edge) for edge in itertools.pairwise(way)), name


def test_the_command_line_reads_the_filter_words_that_it_writes() -> None:
    for status, word in CLI_WORDS.items():
        assert status in status_words.server_words(word)
        assert status_words.spoken({"status": status})["status"] == word
        assert status_words.server_word(word) in status_words.server_words(word)
