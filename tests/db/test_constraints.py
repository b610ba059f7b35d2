"""Each rule the database holds is broken here once, and the database says no."""

from __future__ import annotations

from collections.abc import Generator

import psycopg.errors as pg
import pytest
from sqlalchemy import Engine
from sqlalchemy.exc import DBAPIError, IntegrityError

from db.engine import make_engine
from tests import build, cluster

DAY = "2026-12-01 {:02d}:00+00"


@pytest.fixture(scope="module")
def sold(postgres: str) -> Generator[Engine]:
    """`sell` in one database for all tests of this file: a statement that is refused leaves nothing behind."""
    with cluster.database(postgres) as url:
        engine = make_engine(url, pool_size=1)
        sell(engine)
        yield engine
        engine.dispose()


def sell(engine: Engine) -> None:
    """Two students with a piano course each, two trainers, and trainer-1 held for the first: 18:00 to 19:00."""
    first = build.purchase(engine, "pay-1")
    second = build.purchase(engine, "pay-2", student_id="student-2")
    build.trainer(engine, "trainer-1")
    build.trainer(engine, "trainer-2")
    for number, order in enumerate((first, second), start=1):
        build.run(
            engine,
            "INSERT INTO allocations (id, purchase_id, trainer_id, student_id, status, created_at)"
            " VALUES (:id, :purchase, :trainer, :student, 'approved', now())",
            id=f"allocation-{number}", purchase=order.purchase_id, trainer=f"trainer-{number}",
            student=order.student_id,
        )  # fmt: skip
    hold(engine, "allocation-1", 1, "trainer-1", "student-1", 18, 19)
    build.run(engine, "INSERT INTO purchase_starts VALUES ('p', 'p', NULL, 1, 'student-1', 'admin', 1, NULL, now())")


def hold(engine: Engine, allocation: str, number: int, trainer: str, student: str, start: int, end: int) -> None:
    build.run(
        engine,
        "INSERT INTO trainer_slots VALUES (:allocation, :number, :trainer, :student,"
        " tstzrange(CAST(:start AS timestamptz), CAST(:end AS timestamptz)), '2026-12-01 18:00', 'Europe/London', 'held')",
        allocation=allocation, number=number, trainer=trainer, student=student, start=DAY.format(start),
        end=DAY.format(end),
    )  # fmt: skip


def breaks(engine: Engine, statement: str, constraint: str, kind: type[pg.Error]) -> None:
    with pytest.raises(IntegrityError) as error:
        build.run(engine, statement)
    assert isinstance(error.value.orig, kind)
    assert error.value.orig.diag.constraint_name == constraint


COPY = (
    "INSERT INTO student_course_purchases (id, workflow_id, payment_id, line, student_id, item_type, item_id, fulfilment,"
    " status, session_count, session_count_source, purchased_at, superseded_by)"
    " SELECT '{id}', '{id}', {payment}, line, student_id, item_type, item_id, fulfilment, '{status}', session_count,"
    " session_count_source, purchased_at, {by} FROM student_course_purchases WHERE payment_id = 'pay-1'"
)

MOVE = (
    "INSERT INTO coin_movements (key, student_id, kind, coins, purchase_id, moved_at)"
    " SELECT 'm', 'student-1', '{kind}', {coins}, {purchase}, now() FROM purchase_starts WHERE purchase_id = 'p'"
)

HOLDS = (
    "INSERT INTO allocations (id, trainer_id, student_id, status, created_at, course_id, hold_number, hold_expires_at)"
    " SELECT id, 'trainer-1', 'student-1', '{status}', now(), {course}, {number}, {until} FROM (VALUES {ids}) AS new (id)"
)
KEPT = {"status": "on_hold", "course": "'course-piano'", "number": "1", "until": "now()", "ids": "('h')"}

CHECKS = [
    ("UPDATE student_course_purchases SET status = 'deleted'", "status_known"),
    ("UPDATE student_course_purchases SET status = 'voided'", "voided_has_a_time"),
    ("UPDATE student_course_purchases SET voided_at = now()", "voided_has_a_time"),
    ("UPDATE student_course_purchases SET status = 'superseded'", "superseded_names_its_renewal"),
    ("UPDATE student_course_purchases SET superseded_by = id", "no_purchase_supersedes_itself"),
    ("UPDATE student_course_purchases SET expired_at = now()", "only_what_ends_expires"),
    (
        "INSERT INTO enrollments (purchase_id, item_type, item_id, student_id, enrolled_at, expired)"
        " SELECT id, item_type, item_id, student_id, now(), true FROM student_course_purchases",
        "expired_has_ended",
    ),
    ("UPDATE student_course_purchases SET session_count = 0", "session_count_in_range"),
    ("UPDATE student_course_purchases SET session_count = 1001", "session_count_in_range"),
    ("UPDATE student_course_purchases SET session_count_source = 'guess'", "session_count_source_known"),
    ("UPDATE student_course_purchases SET fulfilment = 'luck'", "fulfilment_known"),
    ("UPDATE payments SET status = 'maybe'", "status_known"),
    ("UPDATE payments SET amount_minor = -1", "amount_not_negative"),
    ("INSERT INTO payments VALUES ('no spaces', 'student-1', 'failed', 1, 'USD', now())", "id_shape"),
    ("INSERT INTO refunds VALUES ('r', 'pay-1', 1, 0, 'USD', 'requested', NULL, now())", "amount_positive"),
    (
        "INSERT INTO idempotency_keys VALUES ('me', 'checkout', 'seven77', 'h', 'pay-1', now(), NULL, now())",
        "key_length",
    ),
    ("UPDATE purchase_starts SET origin = 'nowhere'", "origin_known"),
    ("UPDATE purchase_starts SET ending = 'exploded', ended_at = now()", "ending_known"),
    ("UPDATE purchase_starts SET ending = 'completed'", "ending_has_a_time"),
    ("UPDATE purchase_starts SET attempt = 0", "attempt_from_one"),
    ("INSERT INTO purchase_steps SELECT purchase_id, 1, 'x', 'half', '{}', now() FROM purchase_starts", "state_known"),
    (
        "INSERT INTO purchase_steps SELECT purchase_id, 1, 'x', 'done', NULL, now() FROM purchase_starts",
        "done_has_a_result",
    ),
    ("UPDATE trainer_slots SET during = 'empty'", "during_is_a_lesson"),
    ("UPDATE trainer_slots SET during = tstzrange(NULL, now())", "during_is_a_lesson"),
    ("UPDATE trainer_slots SET number = 0", "number_from_one"),
    ("UPDATE trainer_slots SET clock = 'late'", "clock_known"),
    ("UPDATE trainer_slots SET clock = 'gap'", "gap_has_asked"),
    ("UPDATE trainer_slots SET clock = 'fold', asked_start = local_start", "gap_has_asked"),
    ("UPDATE trainer_slots SET asked_start = local_start", "gap_has_asked"),
    (
        "INSERT INTO sessions SELECT allocation_id, number, 'x', now(), now(), local_start, zone, 'scheduled', now()"
        " FROM trainer_slots",
        "starts_before_it_ends",
    ),
    (
        "INSERT INTO operator_decisions SELECT purchase_id, 'k', 1, 'guess', '{}', 'ann', 'why', now() FROM purchase_starts",
        "verb_known",
    ),
    (
        "INSERT INTO purchase_requests VALUES ('p', 'lesson', 'i', '{}', false, 'ann', NULL, now())",
        "item_type_known",
    ),
    (
        "INSERT INTO purchase_requests VALUES ('p', 'course', 'i', '{}', true, 'ann', NULL, now())",
        "who_supersedes_says_why",
    ),
    ("UPDATE allocations SET status = 'lost'", "status_known"),
    ("UPDATE allocations SET status = 'on_hold'", "hold_is_whole"),
    (HOLDS.format(**KEPT | {"course": "NULL"}), "hold_is_whole"),
    (HOLDS.format(**KEPT | {"number": "NULL"}), "hold_is_whole"),
    (HOLDS.format(**KEPT | {"until": "NULL"}), "hold_is_whole"),
    (HOLDS.format(**KEPT | {"number": "4"}), "hold_number_known"),
    (HOLDS.format(**KEPT | {"status": "approved"}), "only_holds_lack_a_purchase"),
    (HOLDS.format(**KEPT | {"status": "cancelled", "until": "NULL"}), "only_holds_lack_a_purchase"),
    (MOVE.format(kind="gift", coins=1, purchase="NULL"), "kind_known"),
    (MOVE.format(kind="opening", coins=0, purchase="NULL"), "only_a_redemption_takes"),
    (MOVE.format(kind="opening", coins=-1, purchase="NULL"), "only_a_redemption_takes"),
    (MOVE.format(kind="redemption", coins=1, purchase="purchase_id"), "only_a_redemption_takes"),
    (MOVE.format(kind="redemption", coins=-1, purchase="NULL"), "of_a_purchase"),
    (MOVE.format(kind="opening", coins=1, purchase="purchase_id"), "of_a_purchase"),
    (MOVE.format(kind="top_up", coins=1, purchase="NULL"), "top_up_says_who_and_why"),
    (MOVE.format(kind="redemption", coins=-1, purchase="purchase_id"), "balance_not_negative"),
    ("INSERT INTO coin_balances VALUES ('student-1', -1)", "balance_not_negative"),
    ("UPDATE trainer_availability SET weekday = 0", "weekday_iso"),
]

UNIQUES = [
    (
        COPY.format(id="p", payment="'pay-1'", status="superseded", by="id"),
        "student_course_purchases_payment_id_line_key",
    ),
    (COPY.format(id="p", payment="NULL", status="active", by="NULL"), "one_active_purchase_per_item"),
    (
        "INSERT INTO allocations SELECT 'another', purchase_id, trainer_id, student_id, 'proposed', '{}', '{}', now()"
        " FROM allocations WHERE id = 'allocation-1'",
        "one_allocation_per_purchase",
    ),
    (HOLDS.format(**KEPT | {"ids": "('h'), ('i')"}), "one_hold_per_course"),
    (HOLDS.format(**KEPT | {"ids": "('h'), ('i')", "course": "'course-' || id"}), "few_holds_per_student"),
    (
        "INSERT INTO refunds SELECT id, 'pay-1', 1, 5, 'USD', 'requested', NULL, now() FROM (VALUES ('a'), ('b')) AS two (id)",
        "one_open_refund",
    ),
    ("INSERT INTO outbox (key, type, occurred_at) VALUES ('k', 't', now()), ('k', 't', now())", "outbox_key_key"),
    (
        "INSERT INTO idempotency_keys SELECT 'me', 'checkout', 'same-key', 'h', id, now(), NULL, now() FROM payments",
        "idempotency_keys_pkey",
    ),
    (
        "INSERT INTO idempotency_keys SELECT 'me', 'checkout', key, 'h', 'pay-1', now(), NULL, now()"
        " FROM (VALUES ('first-key'), ('other-key')) AS two (key)",
        "idempotency_keys_payment_id_key",
    ),
    ("UPDATE purchase_starts SET workflow_id = 'same'", "purchase_starts_workflow_id_key"),
    ("UPDATE purchase_starts SET payment_id = 'same'", "purchase_starts_payment_id_line_key"),
]

FOREIGN = [
    (
        "INSERT INTO operator_acts VALUES ('nobody', 'k', 'cancel', 'ann', NULL, 'why', '{}', '{}', 'done', now())",
        "operator_acts_purchase_id_fkey",
    ),
    ("UPDATE student_course_purchases SET item_id = 'x'", "student_course_purchases_item_type_item_id_fkey"),
    ("UPDATE student_course_purchases SET line = 2", "student_course_purchases_payment_id_line_fkey"),
    ("DELETE FROM purchase_starts", "student_course_purchases_id_fkey"),
    (
        "INSERT INTO sessions SELECT allocation_id, 2, purchase_id, lower(during), upper(during), local_start, zone,"
        " 'scheduled', now() FROM trainer_slots JOIN allocations ON allocations.id = allocation_id",
        "sessions_allocation_id_number_fkey",
    ),
]


@pytest.mark.parametrize(("statement", "constraint"), CHECKS)
def test_checks(sold: Engine, statement: str, constraint: str) -> None:
    breaks(sold, statement, constraint, pg.CheckViolation)


@pytest.mark.parametrize(("statement", "constraint"), UNIQUES)
def test_uniques(sold: Engine, statement: str, constraint: str) -> None:
    breaks(sold, statement, constraint, pg.UniqueViolation)


@pytest.mark.parametrize(("statement", "constraint"), FOREIGN)
def test_foreign_keys(sold: Engine, statement: str, constraint: str) -> None:
    breaks(sold, statement, constraint, pg.ForeignKeyViolation)


@pytest.mark.parametrize(
    ("trainer", "student", "constraint"),
    [
        ("trainer-1", "student-2", "trainer_slots_trainer_is_free"),
        ("trainer-2", "student-1", "trainer_slots_student_is_free"),
    ],
)
@pytest.mark.parametrize(("start", "end"), [(18, 19), (17, 20)])
def test_nobody_is_at_two_lessons_at_once(
    sold: Engine, trainer: str, student: str, constraint: str, start: int, end: int
) -> None:
    with pytest.raises(IntegrityError) as error:
        hold(sold, "allocation-2", 1, trainer, student, start, end)
    assert isinstance(error.value.orig, pg.ExclusionViolation)
    assert error.value.orig.diag.constraint_name == constraint


@pytest.mark.parametrize(
    ("status", "change", "constraint"),
    [
        ("requested", "amount_minor = 40000", "a_refund_stays_what_it_is"),
        ("requested", "line = 2", "a_refund_stays_what_it_is"),
        ("settled_outside", "status = 'succeeded'", "refunds_never_move_backwards"),
        ("succeeded", "status = 'requested'", "refunds_never_move_backwards"),
        ("failed", "status = 'requested'", "refunds_never_move_backwards"),
    ],
)
def test_a_refund_stays_what_it_is(engine: Engine, status: str, change: str, constraint: str) -> None:
    build.purchase(engine, "pay-1")
    refund = "INSERT INTO refunds VALUES ('r', 'pay-1', 1, 30000, 'USD', :status, NULL, now())"
    build.run(engine, refund, status=status)
    breaks(engine, f"UPDATE refunds SET {change}", constraint, pg.CheckViolation)  # noqa: S608 -- texts of this table


@pytest.mark.parametrize("status", ["requested", "succeeded", "settled_outside"])
def test_no_more_of_a_line_is_given_back_than_it_cost(engine: Engine, status: str) -> None:
    build.purchase(engine, "pay-1")
    refund = "INSERT INTO refunds VALUES ('{}', 'pay-1', 1, {}, 'USD', '{}', NULL, now())"
    build.run(engine, refund.format("failed once", 50000, "failed"))
    build.run(engine, refund.format("first", 30000, status))
    breaks(engine, refund.format("second", 20001, "succeeded"), "no_more_back_than_it_cost", pg.CheckViolation)
    build.run(engine, refund.format("second", 20000, "succeeded"))


def test_lessons_back_to_back_and_in_the_place_of_a_cancelled_one_are_fine(engine: Engine) -> None:
    sell(engine)
    hold(engine, "allocation-2", 1, "trainer-1", "student-1", 19, 20)
    build.run(engine, "UPDATE trainer_slots SET status = 'cancelled' WHERE allocation_id = 'allocation-1'")
    hold(engine, "allocation-2", 2, "trainer-1", "student-1", 18, 19)


@pytest.mark.parametrize(
    "statement",
    ["DELETE FROM purchases", "UPDATE purchases SET status = 'voided'", "INSERT INTO purchases (id) VALUES ('x')"],
)
def test_the_old_name_of_the_purchases_is_for_reading_only(sold: Engine, statement: str) -> None:
    assert build.value(sold, "SELECT count(*) FROM purchases") == 2
    with pytest.raises(DBAPIError, match=r"cannot (insert into|update|delete from) view"):
        build.run(sold, statement)


@pytest.fixture
def decided(sold: Engine) -> Engine:
    """A decision, an act and a movement of coins stand in the tables that are only added to."""
    build.run(
        sold,
        "INSERT INTO operator_decisions VALUES ('p', 'k', 1, 'cancel', '{}', 'ann', 'why', now()) ON CONFLICT DO NOTHING",
    )
    build.run(
        sold,
        "INSERT INTO operator_acts VALUES ('p', 'k', 'cancel', 'ann', NULL, 'why', '{}', '{}', 'done', now())"
        " ON CONFLICT DO NOTHING",
    )
    build.run(
        sold,
        "INSERT INTO coin_movements VALUES ('k', 'student-2', 'top_up', 5, NULL, 'ann', 'why', now()) ON CONFLICT DO NOTHING",
    )
    return sold


@pytest.mark.parametrize("table", ["operator_decisions", "operator_acts", "coin_movements"])
@pytest.mark.parametrize(
    "change",
    [
        "UPDATE {} SET reason = 'another'", "UPDATE {} SET reason = reason WHERE false", "DELETE FROM {}",
        "TRUNCATE {}", "TRUNCATE {} CASCADE",
    ],
)  # fmt: skip
def test_what_was_done_is_never_changed(decided: Engine, table: str, change: str) -> None:
    before = build.rows(decided, f"TABLE {table}")
    assert before
    with pytest.raises(IntegrityError, match="only added to") as error:
        build.run(decided, change.format(table))
    assert isinstance(error.value.orig, pg.RestrictViolation)
    assert build.rows(decided, f"TABLE {table}") == before


def test_truncating_the_starts_does_not_reach_what_operators_did(decided: Engine) -> None:
    with pytest.raises(IntegrityError, match="only added to"):
        build.run(decided, "TRUNCATE purchase_starts CASCADE")
