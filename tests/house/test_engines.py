"""Each engine keeps the promises of `hopper.database`: both test runs come through here."""

from __future__ import annotations

import json
import select
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from django.db import Error, connection, transaction
from django.utils import timezone

from hopper.actors import SYSTEM
from hopper.database import (
    alone,
    engine,
    is_outage,
    limit_waiting,
    lock_names,
    lock_row,
    lock_rows,
    lock_shared,
    lock_within,
    now,
    number_of,
    outage_words,
    present,
    read_with_now,
    skip_health_check,
    snapshot,
    try_lock,
    write_together,
)
from hopper.database.writes import inserting, updating
from instances.models import CheckRecord, HopperInstance
from instances.tree.shape import create_instance

pytestmark = pytest.mark.django_db(transaction=True)
HELD = [[], ["a"], ["b", "a"], ["b", "c", "a"], ["c", "a"], ["c"], ["%", "'", '"', "ä"]]
SHORT, LONG = 0.2, 60  # seconds in which a free hand would be done; in which a freed one has to be


def rows(sql: str, *params: Any) -> list[tuple[Any, ...]]:
    """Return the rows that a statement answers."""
    with connection.cursor() as cursor:
        cursor.execute(sql, params)
        return list(cursor.fetchall())


class Elsewhere(threading.Thread):
    """Does some work in a transaction of another connection, beside the test."""

    def __init__(self, work: Callable[[], object]) -> None:
        super().__init__()
        self.work, self.done = work, threading.Event()
        self.start()

    def run(self) -> None:
        with transaction.atomic():
            self.work()
        self.done.set()
        connection.close()

    def waits(self) -> bool:
        """Return whether the work is held up."""
        return not self.done.wait(SHORT)

    def ends(self) -> bool:
        """Return whether the work is committed in time."""
        return self.done.wait(LONG)


@pytest.fixture
def root() -> HopperInstance:
    return create_instance("root", scope="GLOBAL", actor=SYSTEM)


def record(broken: list[str]) -> CheckRecord:
    return CheckRecord(broken=broken, began_at=timezone.now(), seconds=1.0)


def check(broken: list[str]) -> None:
    record(broken).save()


def kept_early(broken: list[str], *, ending: str = "RETURNING id") -> list[tuple[Any, ...]]:
    statement, params = inserting([record(broken)])
    with connection.cursor() as cursor:
        return engine().commit_early(cursor, f"{statement} {ending}", params)


def rename(name: str) -> None:
    HopperInstance.objects.update(name=name)


def test_greatest_and_least_choose_among_their_arguments() -> None:
    chosen = rows(f"SELECT {engine().greatest}(2, 3, 1), {engine().least}(2, 3, 1)")
    assert chosen == [(3, 1)]


def test_a_table_expression_may_be_evaluated_once() -> None:
    assert rows(f"WITH one (n) AS {engine().once} (SELECT 1) SELECT n FROM one") == [(1,)]


@pytest.mark.parametrize("wanted", [{}, {"seconds": 1}], ids=["all", "some"])
def test_many_rows_are_estimated_or_left_to_be_counted(wanted: dict[str, int]) -> None:
    for _ in range(20):
        check([])
    # The planner is right about a table whose rows it has just counted.
    with connection.cursor() as cursor:
        cursor.execute(f"ANALYZE {CheckRecord._meta.db_table}")
    assert engine().estimated_number(CheckRecord.objects.filter(**wanted)) in (None, 20)
    for exact_to in (20, 30):
        assert number_of(CheckRecord.objects.filter(**wanted), exact_to=exact_to) == (20, False)
    assert number_of(CheckRecord.objects.filter(**wanted), exact_to=9)[0] == 20


@pytest.mark.parametrize("words", [["a", "b"], ["'", "%", "ä"], []], ids=["words", "signs", "none"])
@pytest.mark.parametrize(
    ("condition", "holds"),
    [
        ("any_word", lambda held, words: bool(held & words)),
        ("all_words", lambda held, words: words <= held),
        ("only_words", lambda held, words: held <= words),
    ],
)
def test_a_list_is_chosen_by_its_words(
    condition: str, holds: Callable[[set[str], set[str]], bool], words: list[str]
) -> None:
    sql, value = getattr(engine(), condition)("broken", "%s", words)
    for held in HELD:
        check(held)
    table = CheckRecord._meta.db_table
    found = rows(f"SELECT broken FROM {table} WHERE {sql} ORDER BY id", value)
    chosen = [json.loads(one) if isinstance(one, str) else one for (one,) in found]
    assert chosen == [held for held in HELD if holds(set(held), set(words))]


@pytest.mark.parametrize(
    "lock",
    [
        lambda: lock_names("tree"),
        lambda: lock_shared(HopperInstance, "x"),
        lambda: lock_row(HopperInstance, "x"),
        lambda: limit_waiting(1),
    ],
    ids=["name", "shared", "row", "waiting"],
)
def test_a_lock_needs_a_transaction_to_hold_it(lock: Callable[[], object]) -> None:
    with pytest.raises(RuntimeError):
        lock()


@pytest.mark.parametrize(
    ("lock", "change"),
    [
        (lambda: lock_names("a", "b"), lambda: lock_names("b")),
        (lambda: lock_names("b", shared=True), lambda: lock_names("b")),
        (lambda: lock_shared(HopperInstance, "root"), lambda: rename("other")),
        (lambda: lock_row(HopperInstance, "root"), lambda: rename("other")),
        (
            lambda: lock_row(HopperInstance, "root"),
            lambda: lock_shared(HopperInstance, "root"),
        ),
    ],
    ids=[
        "name and name",
        "shared name and name",
        "shared and change",
        "row and change",
        "row and shared",
    ],
)
def test_a_lock_holds_others_up_until_its_transaction_ends(
    lock: Callable[[], object], change: Callable[[], object], root: HopperInstance
) -> None:
    with transaction.atomic():
        lock()
        other = Elsewhere(change)
        assert other.waits()
    assert other.ends()


@pytest.mark.postgres
def test_other_names_and_sharers_do_not_hold_one_another_up() -> None:
    with transaction.atomic():
        lock_names("a", shared=True)
        assert Elsewhere(lambda: lock_names("a", "b", shared=True)).ends()
        assert Elsewhere(lambda: lock_names("b")).ends()


@pytest.mark.postgres
def test_a_lock_is_given_up_after_a_wait_which_leaves_other_waits_as_they_are() -> None:
    found: list[object] = []

    def wait() -> None:
        found.append(lock_within("a", seconds=0.1))
        found.append(lock_within("b", seconds=0.1))
        found.extend(rows("SHOW lock_timeout"))

    usual = rows("SHOW lock_timeout")
    with transaction.atomic():
        lock_names("a", shared=True)
        assert Elsewhere(wait).ends()
    assert found == [False, True, *usual]


@pytest.mark.postgres
def test_sharers_of_a_row_do_not_hold_one_another_up(root: HopperInstance) -> None:
    with transaction.atomic():
        lock_shared(HopperInstance, root.pk)
        assert Elsewhere(lambda: lock_shared(HopperInstance, root.pk)).ends()


def test_a_locked_row_is_as_fresh_as_its_lock(root: HopperInstance) -> None:
    assert Elsewhere(lambda: rename("other")).ends()
    with transaction.atomic():
        assert lock_rows(HopperInstance, [root.pk, "nobody"]).keys() == {root.pk}
        for found in (lock_row(HopperInstance, root.pk), lock_shared(HopperInstance, root.pk)):
            assert found is not None
            assert found.name == "other"
        assert lock_row(HopperInstance, "nobody") is None
        assert lock_shared(HopperInstance, "nobody") is None


def test_rows_come_with_the_moment_after_them_and_with_their_times(root: HopperInstance) -> None:
    before = now()
    statement = f"SELECT id, max(created_at) FROM {HopperInstance._meta.db_table} GROUP BY id"
    found, moment = read_with_now(statement)
    assert [(pk, engine().moment(at)) for pk, at in found] == [(root.pk, root.created_at)]
    assert engine().moment(None) is None
    assert before <= moment <= now()


def test_a_query_reads_the_present_with_its_rows(root: HopperInstance) -> None:
    before = now()
    (at,) = HopperInstance.objects.annotate(at=present()).values_list("at", flat=True)
    assert before <= at <= now()


def test_two_that_lock_what_they_pick_never_pick_the_same() -> None:
    for _ in range(2):
        check(["free"])
    table, picked = CheckRecord._meta.db_table, []

    def pick() -> None:
        locking = engine().locking(table, skip=True)
        first = "WHERE broken = %s ORDER BY id LIMIT 1"
        ((pk,),) = rows(f"SELECT id FROM {table} {first} {locking}", '["free"]')
        CheckRecord.objects.filter(pk=pk).update(broken=[])
        picked.append(pk)

    with transaction.atomic():
        pick()
        other = Elsewhere(pick)
        # Where one may write at a time the other waits, else it skips what is held.
        other.waits()
    assert other.ends()
    assert len(set(picked)) == 2


def test_a_snapshot_sees_one_moment_and_holds_nobody_up(root: HopperInstance) -> None:
    with snapshot():
        before = HopperInstance.objects.get().name
        assert Elsewhere(lambda: rename("other")).ends()
        assert HopperInstance.objects.get().name == before != "other"
    assert HopperInstance.objects.get().name == "other"


def test_a_snapshot_inside_a_transaction_sees_what_that_wrote(root: HopperInstance) -> None:
    with transaction.atomic():
        rename("other")
        with snapshot():
            assert HopperInstance.objects.get().name == "other"
    assert HopperInstance.objects.get().name == "other"


@pytest.mark.parametrize("count", [0, 1, 3])
def test_writes_together_are_all_carried_out(count: int) -> None:
    write_together(*(inserting([record([str(n)])]) for n in range(count)))
    assert CheckRecord.objects.count() == count


def test_writes_together_leave_nothing_when_one_fails() -> None:
    wrong = inserting([record(["wrong"])])[0], []
    with pytest.raises(Exception), transaction.atomic():  # noqa: B017, PT011
        write_together(inserting([record(["right"])]), wrong)
    assert not CheckRecord.objects.exists()


def test_a_statement_that_commits_early_is_kept_and_answers_its_rows() -> None:
    assert len(kept_early(["kept"])) == 1
    assert Elsewhere(CheckRecord.objects.get).ends()
    assert CheckRecord.objects.get().broken == ["kept"]


def test_a_statement_that_commits_early_fails_as_any_other() -> None:
    with pytest.raises(Error):
        kept_early(["wrong"], ending="RETURNING no_such_column")
    assert rows("SELECT 1") == [(1,)]
    assert not CheckRecord.objects.exists()


@pytest.mark.postgres
def test_a_signal_during_an_early_commit_leaves_no_transaction_open() -> None:
    threading.Timer(SHORT, signal.raise_signal, [signal.SIGINT]).start()
    with connection.cursor() as cursor, pytest.raises(KeyboardInterrupt):
        engine().commit_early(cursor, "SELECT pg_sleep(%s)", [LONG])
    assert rows("SELECT 1") == [(1,)]


def test_in_a_transaction_nothing_commits_early() -> None:
    with transaction.atomic():
        assert len(kept_early(["taken back"])) == 1
        transaction.set_rollback(True)
    assert not CheckRecord.objects.exists()


def test_rows_are_inserted_whole_and_updated_by_field() -> None:
    write_together(inserting([record(["a"]), record(["b"])]))
    first = CheckRecord.objects.order_by("id")[0]
    first.broken, first.seconds = ["ä'%"], 2.5
    fields = [first._meta.get_field(name) for name in ("broken", "seconds")]
    write_together(updating(first, fields).of([first.pk]))
    stored = CheckRecord.objects.order_by("id").values_list("broken", "seconds", "since")
    assert list(stored) == [(["ä'%"], 2.5, None), (["b"], 1.0, None)]


def test_the_engine_knows_whether_it_writes_within_a_read() -> None:
    insert, params = inserting([record([])])
    statement = f"WITH made AS ({insert} RETURNING id) SELECT count(*) FROM made"
    if engine().writes_in_with:
        assert rows(statement, *params) == [(1,)]
    else:
        with pytest.raises(Error):
            rows(statement, *params)


def test_a_silent_connection_is_used_as_it_is_and_one_that_was_ended_is_asked() -> None:
    rows("SELECT 1")
    connection.health_check_done = False
    skip_health_check()
    assert connection.health_check_done
    if connection.vendor == "sqlite":
        return
    ((session,),) = rows("SELECT pg_backend_pid()")
    ended = threading.Thread(target=end_session, args=[session])
    ended.start()
    ended.join(LONG)
    assert select.select([connection.connection], [], [], LONG)[0], "the last words did not come"
    connection.health_check_done = False
    skip_health_check()
    assert not connection.health_check_done
    connection.close()


def end_session(session: int) -> None:
    """End another session of the database."""
    rows("SELECT pg_terminate_backend(%s)", session)
    connection.close()


def test_a_lock_that_others_hold_too_long_is_an_outage(root: HopperInstance) -> None:
    held, free = threading.Event(), threading.Event()

    def hold() -> None:
        lock_row(HopperInstance, root.pk)
        held.set()
        free.wait(LONG)

    @transaction.atomic
    def lock() -> None:
        limit_waiting(1)
        lock_row(HopperInstance, root.pk)

    with impatient():
        other = Elsewhere(hold)
        assert held.wait(LONG)
        with pytest.raises(Error) as raised:
            lock()
        free.set()
    assert other.ends()
    assert is_outage(raised.value)


def test_an_outage_that_waiting_does_not_end_names_its_cause() -> None:
    @transaction.atomic
    def write_in_a_transaction_that_reads() -> None:
        with connection.cursor() as cursor:
            cursor.execute(
                "PRAGMA query_only = 1" if engine().one_writer else "SET TRANSACTION READ ONLY"
            )
            cursor.execute("CREATE TABLE never (made int)")

    with pytest.raises(Error) as raised:
        write_in_a_transaction_that_reads()
    if engine().one_writer:
        rows("PRAGMA query_only = 0")
    assert is_outage(raised.value)
    assert "read-only" in outage_words(raised.value)
    assert "try again" in outage_words(None)


@contextmanager
def impatient() -> Iterator[None]:
    """Let this connection give up soon on SQLite, which waits where a transaction begins."""
    if engine().locking("", skip=False):
        yield
        return
    rows("PRAGMA busy_timeout = 100")
    yield
    rows("PRAGMA busy_timeout = 30000")


@pytest.mark.parametrize("statement", ["SELECT * FROM nowhere", "SELECTED"])
def test_a_mistake_of_ours_is_no_outage(statement: str) -> None:
    with pytest.raises(Error) as raised:
        rows(statement)
    assert not is_outage(raised.value)


@pytest.mark.parametrize("error", [None, ValueError("no"), Error("no driver's error")])
def test_only_an_error_of_the_driver_is_an_outage(error: BaseException | None) -> None:
    assert not is_outage(error)


def test_a_lock_that_another_holds_is_refused_at_once() -> None:
    tried: list[bool] = []
    with transaction.atomic():
        assert try_lock(7)
        if not engine().ids_follow_commits:
            other = Elsewhere(lambda: tried.append(try_lock(7)))
            assert not other.waits()
            assert tried == [False]
    assert Elsewhere(lambda: tried.append(try_lock(7))).done.wait(LONG)
    assert tried[-1]


@pytest.mark.postgres
def test_a_lock_over_several_transactions_lets_the_next_in_at_its_end() -> None:
    def hold() -> None:
        with alone(8):
            pass

    with alone(8):
        with transaction.atomic():
            check([])
        other = Elsewhere(hold)
        assert other.waits(), "the commit has not given the lock back"
    assert other.ends()
