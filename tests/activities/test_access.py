"""Access ends when its last day is over, once; an admin gives it for longer, once per key (rows 57, 71, C16; I6, I10)."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, date, datetime, timedelta

import pytest
from sqlalchemy import Engine

from activities.access import AccessActivities
from activities.enrollment import EnrollmentActivities
from domain.access import AccessLook, Extension
from domain.purchase import PurchaseOrder
from tests import build
from tests.activities.world import written

LAST_DAY = date(2027, 6, 30)
OVER = datetime(2027, 6, 30, 23, tzinfo=UTC)  # midnight in London, in summer
ACCESS = "SELECT purchase_id, expires_on, ended_at, expired FROM enrollments ORDER BY purchase_id"


class Desk:
    """One purchase with access until LAST_DAY, and a clock to be set."""

    def __init__(self, engine: Engine) -> None:
        self.engine, self.now = engine, build.NOW
        self.access = AccessActivities(engine, lambda: self.now)
        self.enrollments = EnrollmentActivities(engine, lambda: self.now)
        self.order = self.sold()

    def sold(self, payment_id: str = "pay-1", *, until: date | None = LAST_DAY, enrolled: bool = True) -> PurchaseOrder:
        order = build.purchase(self.engine, payment_id)
        build.run(
            self.engine, "UPDATE student_course_purchases SET expires_on = :until WHERE id = :id",
            until=until, id=order.purchase_id,
        )  # fmt: skip
        if enrolled:
            self.enrollments.enroll(order)
        return order

    def extend(self, until: str = "2027-12-31", key: str = "k1", actor: str = "ann") -> str:
        return self.access.extend_access(Extension(self.order, key, actor, "the student was ill", until))

    def events(self) -> list[tuple[str, str]]:
        return [
            tuple(row) for row in build.rows(self.engine, "SELECT type, data ->> 'lastDay' FROM outbox ORDER BY id")
        ]

    def version(self) -> int:
        return build.value(self.engine, "SELECT version FROM learning_versions WHERE student_id = 'student-1'") or 0


@pytest.fixture
def desk(engine: Engine) -> Desk:
    return Desk(engine)


def test_until_the_last_day_is_over_it_only_says_how_long_to_wait(desk: Desk) -> None:
    before = written(desk.engine)
    desk.now = OVER - timedelta(seconds=90)
    assert desk.access.end_access(desk.order) == AccessLook("waits", 90.0, "2027-06-30")
    assert written(desk.engine) == before


def test_ends_access_once_and_keeps_everything(desk: Desk) -> None:
    desk.now, read = OVER, desk.version()
    assert desk.access.end_access(desk.order) == AccessLook("ended", last_day="2027-06-30")
    assert build.rows(desk.engine, ACCESS) == [(desk.order.purchase_id, LAST_DAY, OVER, True)]
    [row] = build.rows(desk.engine, "SELECT status, expired_at FROM student_course_purchases")
    assert tuple(row) == ("active", OVER)
    assert build.value(desk.engine, "SELECT count(*) FROM ownerships WHERE revoked_at IS NULL") == 1
    assert desk.events() == [("PURCHASE_EXPIRED", "2027-06-30")]
    assert desk.version() == read + 1
    after = written(desk.engine)
    desk.now = OVER + timedelta(days=9)
    assert desk.access.end_access(desk.order).state == "ended"
    assert written(desk.engine) == after
    assert desk.version() == read + 1


def test_ten_at_once_end_it_once(desk: Desk) -> None:
    desk.now, read = OVER, desk.version()
    with ThreadPoolExecutor(10) as threads:
        states = {look.state for look in threads.map(desk.access.end_access, [desk.order] * 10)}
    assert states == {"ended"}
    assert desk.events() == [("PURCHASE_EXPIRED", "2027-06-30")]
    assert desk.version() == read + 1


@pytest.mark.parametrize("why", ["open-ended", "voided", "no purchase"])
def test_nobody_waits_where_nothing_ends(desk: Desk, why: str) -> None:
    order = desk.order
    if why == "no purchase":
        order = PurchaseOrder("none", "none", "pay-9", 1, "student-1")
    elif why == "voided":
        desk.enrollments.unenroll(order)
        build.run(desk.engine, "UPDATE student_course_purchases SET status = 'voided', voided_at = now()")
    else:
        build.run(desk.engine, "UPDATE student_course_purchases SET expires_on = NULL")
    before = written(desk.engine)
    desk.now = OVER + timedelta(days=400)
    assert desk.access.end_access(order) == AccessLook("over")
    assert written(desk.engine) == before


def test_a_course_taken_back_before_its_end_is_told_apart_from_one_that_expired(desk: Desk) -> None:
    desk.enrollments.unenroll(desk.order)
    [row] = build.rows(desk.engine, "SELECT ended_at IS NOT NULL, expired FROM enrollments")
    assert tuple(row) == (True, False)


def test_who_is_enrolled_only_after_the_end_has_no_access(desk: Desk) -> None:
    build.run(desk.engine, "DELETE FROM enrollments")
    build.run(desk.engine, "DELETE FROM purchase_steps")
    desk.now = OVER
    desk.access.end_access(desk.order)
    desk.enrollments.enroll(desk.order)
    assert build.rows(desk.engine, ACCESS) == [(desk.order.purchase_id, LAST_DAY, OVER, True)]


@pytest.mark.parametrize("moment", [build.NOW, OVER + timedelta(days=3)], ids=["before its end", "after"])
def test_an_extension_gives_access_again_and_is_on_record(desk: Desk, moment: datetime) -> None:
    desk.now = moment
    desk.access.end_access(desk.order)
    assert desk.extend() == "access lasts until 2027-12-31"
    assert build.rows(desk.engine, ACCESS) == [(desk.order.purchase_id, date(2027, 12, 31), None, False)]
    [row] = build.rows(
        desk.engine,
        "SELECT expires_on, expired_at, metadata ->> 'expiryDate' AS said, metadata_sources ->> 'expiryDate' AS by"
        " FROM student_course_purchases",
    )
    assert tuple(row) == (date(2027, 12, 31), None, "2027-12-31", "admin")
    assert desk.events()[-1] == ("PURCHASE_EXTENDED", "2027-12-31")
    [act] = build.rows(desk.engine, "SELECT verb, actor, reason, before, after, outcome, acted_at FROM operator_acts")
    assert tuple(act) == (
        "extend", "ann", "the student was ill", {"expiresOn": "2027-06-30"}, {"expiresOn": "2027-12-31"},
        "access lasts until 2027-12-31", moment,
    )  # fmt: skip


def test_a_key_extends_once_and_hears_its_first_answer(desk: Desk) -> None:
    first = desk.extend()
    after = written(desk.engine)
    assert desk.extend(actor="bob") == first
    assert desk.extend("2028-12-31", actor="bob").startswith("refused: KEY_REUSED")
    assert written(desk.engine) == after
    assert build.value(desk.engine, "SELECT count(*) FROM operator_acts") == 1


def test_eight_at_once_with_one_key_extend_once(desk: Desk) -> None:
    with ThreadPoolExecutor(8) as threads:
        assert len(set(threads.map(lambda _: desk.extend(), range(8)))) == 1
    assert desk.events() == [("PURCHASE_EXTENDED", "2027-12-31")]
    assert build.value(desk.engine, "SELECT count(*) FROM operator_acts") == 1


def test_a_refused_extension_changes_nothing_but_the_record(desk: Desk) -> None:
    before = written(desk.engine)
    assert desk.extend("2027-06-30") == "refused: WRONG_STAGE: access lasts until 2027-06-30 already"
    assert written(desk.engine) == before
    [act] = build.rows(desk.engine, "SELECT before, after FROM operator_acts")
    assert act.before == act.after == {"expiresOn": "2027-06-30"}


def test_what_was_extended_ends_again_and_is_told_again(desk: Desk) -> None:
    desk.now = OVER
    desk.access.end_access(desk.order)
    desk.extend("2027-07-31")
    assert desk.access.end_access(desk.order).state == "waits"
    desk.now = OVER + timedelta(days=31)
    assert desk.access.end_access(desk.order).state == "ended"
    assert desk.events() == [
        ("PURCHASE_EXPIRED", "2027-06-30"), ("PURCHASE_EXTENDED", "2027-07-31"), ("PURCHASE_EXPIRED", "2027-07-31"),
    ]  # fmt: skip


def test_an_end_and_an_extension_at_once_leave_access(desk: Desk) -> None:
    """Whoever comes first: the extension wins, the end is of a day that is no longer the last."""
    desk.now = OVER
    for turn in range(10):
        until = f"2028-01-{turn + 1:02d}"
        with ThreadPoolExecutor(2) as threads:
            ended = threads.submit(desk.access.end_access, desk.order)
            extended = threads.submit(desk.extend, until, f"k{turn}")
            ended.result(), extended.result()
        assert build.value(desk.engine, "SELECT ended_at FROM enrollments") is None
        build.run(desk.engine, "UPDATE student_course_purchases SET expires_on = '2027-06-30'")
        build.run(desk.engine, "UPDATE enrollments SET expires_on = '2027-06-30'")


def test_voiding_what_expired_leaves_history_and_no_access(desk: Desk) -> None:
    desk.now = OVER
    desk.access.end_access(desk.order)
    desk.enrollments.unenroll(desk.order)
    build.run(desk.engine, "UPDATE student_course_purchases SET status = 'voided', voided_at = now()")
    assert desk.access.end_access(desk.order).state == "over"
    assert desk.extend() == "refused: WRONG_STAGE: the purchase was taken back"
    assert build.rows(desk.engine, "SELECT expired FROM enrollments") == [(True,)]
