"""A do and its undo at the same moment: one waits for the other's commit, then both tell the truth."""

from __future__ import annotations

from collections.abc import Callable, Generator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from threading import Event
from typing import Any

import pytest
from sqlalchemy import Engine, event, text

from activities.enrollment import EnrollmentActivities
from activities.payment import PaymentActivities
from activities.purchase import PurchaseActivities
from db.engine import make_engine
from db.grants import WORKER
from domain.purchase import PurchaseOrder, Undone
from domain.refusals import Refused
from tests import build
from tests.activities.world import in_force
from tests.build import NOW
from tests.gateways.in_memory import FakeProvider
from tests.roles import as_role, owner_of

PATIENCE = 30  # seconds; only a failing test waits that long
WAITING = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"


@pytest.fixture
def threads() -> Generator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(12) as executor:
        yield executor


@pytest.fixture
def order(engine: Engine) -> PurchaseOrder:
    return build.purchase(engine)


def until_waiting(engine: Engine, call: Future[Any], how_many: int = 1) -> None:
    """Return once so many statements wait for a lock of another; a call that ends first has not waited: fail."""
    while build.value(engine, WAITING) < how_many:
        assert not call.done(), call


@contextmanager
def held_before_commit(engine: Engine) -> Generator[tuple[Event, Event]]:
    """Transactions of this engine stop before their COMMIT: `reached` tells, `go` lets them on."""
    reached, go = Event(), Event()

    def hold(connection: Any) -> None:
        reached.set()
        assert go.wait(PATIENCE)

    event.listen(engine, "commit", hold)
    try:
        yield reached, go
    finally:
        go.set()
        event.remove(engine, "commit", hold)


def test_an_undo_waits_for_the_do_in_flight_and_takes_back_all_of_it(
    engine: Engine, threads: ThreadPoolExecutor, order: PurchaseOrder
) -> None:
    enrollments = EnrollmentActivities(engine, lambda: NOW)
    with owner_of(engine).connect() as blocker:
        # The do stops at the very end of its statement, at the foreign key check, ledger row and effect written.
        blocker.execute(text("SELECT FROM students FOR UPDATE"))
        doing = threads.submit(enrollments.enroll, order)
        until_waiting(engine, doing)
        undoing = threads.submit(enrollments.unenroll, order)
        until_waiting(engine, undoing, how_many=2)
        blocker.rollback()
        doing.result(PATIENCE)
        assert undoing.result(PATIENCE) == Undone(changed=True)
    assert in_force(engine)["enrolled"] == []


def test_a_do_waits_for_the_undo_in_flight_and_is_refused(
    engine: Engine, database_url: str, threads: ThreadPoolExecutor, order: PurchaseOrder
) -> None:
    undoer = make_engine(as_role(WORKER, database_url), pool_size=1)
    with held_before_commit(undoer) as (reached, go):
        undoing = threads.submit(EnrollmentActivities(undoer, lambda: NOW).unenroll, order)
        assert reached.wait(PATIENCE)
        doing = threads.submit(EnrollmentActivities(engine, lambda: NOW).enroll, order)
        until_waiting(engine, doing)
        go.set()
        assert undoing.result(PATIENCE) == Undone(changed=False)
        with pytest.raises(Refused) as refused:
            doing.result(PATIENCE)
    undoer.dispose()
    assert refused.value.code == "ALREADY_MADE_WHOLE"
    assert build.rows(engine, "SELECT * FROM enrollments") == []


def test_a_do_whose_connection_dies_before_its_commit_has_not_happened(
    engine: Engine, threads: ThreadPoolExecutor, order: PurchaseOrder
) -> None:
    enrollments = EnrollmentActivities(engine, lambda: NOW)
    with owner_of(engine).connect() as blocker:
        blocker.execute(text("SELECT FROM students FOR UPDATE"))
        doing = threads.submit(enrollments.enroll, order)
        until_waiting(engine, doing)
        build.value(
            engine,
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE datname = current_database() AND wait_event_type = 'Lock'",
        )
        with pytest.raises(Exception, match="terminating connection"):
            doing.result(PATIENCE)
    assert build.rows(engine, "SELECT * FROM purchase_steps") == []
    enrollments.enroll(order)  # the pool has dropped the dead connection
    assert len(in_force(engine)["enrolled"]) == 1


def at_once(threads: ThreadPoolExecutor, calls: list[Callable[[], Any]]) -> list[Any]:
    """All calls together; the answers, an exception as its own answer."""

    def answer(call: Callable[[], Any]) -> Any:
        try:
            return call()
        except Exception as error:
            return error

    return list(threads.map(answer, calls))


def test_many_dos_and_undos_at_once_end_undone_with_one_effect_at_most(
    engine: Engine, threads: ThreadPoolExecutor, order: PurchaseOrder
) -> None:
    enrollments = EnrollmentActivities(engine, lambda: NOW)
    calls = [lambda: enrollments.enroll(order), lambda: enrollments.unenroll(order)] * 6
    answers = at_once(threads, calls)
    undone = [answer for answer in answers if isinstance(answer, Undone)]
    assert len(undone) == 6
    assert len(set(undone)) == 1
    assert in_force(engine)["enrolled"] == []
    assert build.value(engine, "SELECT count(*) FROM enrollments") == int(undone[0].changed)
    others = [answer for answer in answers if not isinstance(answer, Undone) and answer is not None]
    assert all(isinstance(other, Refused) and other.code == "ALREADY_MADE_WHOLE" for other in others), others


def test_ten_creates_of_one_line_at_once_make_one_purchase(
    engine: Engine, threads: ThreadPoolExecutor, fake_provider: FakeProvider
) -> None:
    build.student(engine)
    build.item(engine)
    build.pay(engine, fake_provider)
    bought = build.start(engine)
    PaymentActivities(engine, fake_provider, lambda: NOW).confirm_payment(bought)
    purchases = PurchaseActivities(engine, lambda: NOW)
    answers = at_once(threads, [lambda: purchases.create_purchase(bought)] * 10)
    assert len(set(answers)) == 1
    for table in ("student_course_purchases", "ownerships", "outbox"):
        assert len(build.rows(engine, f"TABLE {table}")) == 1


def test_ten_refunds_of_one_line_at_once_give_back_once(
    engine: Engine, threads: ThreadPoolExecutor, fake_provider: FakeProvider
) -> None:
    build.student(engine)
    build.pay(engine, fake_provider)
    bought = build.start(engine)
    payments = PaymentActivities(engine, fake_provider, lambda: NOW)
    answers = at_once(threads, [lambda: payments.refund_payment(bought)] * 10)
    assert set(answers) == {Undone(changed=True, refunded=True)}
    assert list(fake_provider.refunds) == ["refund:pay-1:1"]
    assert build.value(engine, "SELECT count(*) FROM refunds WHERE status = 'succeeded'") == 1


def test_two_lines_refunded_at_once_leave_the_payment_refunded(
    engine: Engine, threads: ThreadPoolExecutor, fake_provider: FakeProvider
) -> None:
    build.student(engine)
    build.pay(engine, fake_provider, items=(("course", "course-piano"), ("course", "course-chess")))
    lines = [build.start(engine, line=1), build.start(engine, line=2)]
    payments = PaymentActivities(engine, fake_provider, lambda: NOW)
    at_once(threads, [lambda line=line: payments.refund_payment(line) for line in lines])
    assert build.value(engine, "SELECT status FROM payments") == "refunded"
