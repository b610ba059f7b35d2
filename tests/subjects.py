"""Builders of subjects, bundles and what a student bought of them, and of tests from before, beside tests.build."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import Engine

from domain.purchase import PurchaseOrder
from tests import build

CARDS = "SELECT count(*) FROM mock_test_attempts WHERE voided_at IS NULL"


def subject(engine: Engine, subject_id: str = "physics", *, price_minor: int = 9900) -> str:
    """A subject of the catalogue."""
    return build.item(engine, subject_id, item_type="subject", fulfilment="test_cards", price_minor=price_minor)


def bundle(engine: Engine, bundle_id: str, subjects: Sequence[str], *, price_minor: int = 19900) -> str:
    """A bundle and its subjects, all of the catalogue."""
    for each in subjects:
        subject(engine, each)
        build.run(
            engine,
            "INSERT INTO bundle_subjects VALUES (:bundle, :subject) ON CONFLICT DO NOTHING",
            bundle=bundle_id,
            subject=each,
        )
    return build.item(engine, bundle_id, item_type="bundle", fulfilment="test_cards", price_minor=price_minor)


def bought(
    engine: Engine,
    payment_id: str = "pay-1",
    *,
    subjects: Sequence[str] = ("physics",),
    student_id: str = "student-1",
    enrolled: bool = False,
) -> PurchaseOrder:
    """An active purchase of a bundle of these subjects, just created; no other activity ran, unless `enrolled`."""
    build.student(engine, student_id)
    item = bundle(engine, "+".join(subjects), subjects)
    build.pay(engine, None, payment_id, student_id=student_id, items=(("bundle", item),), metadata={})
    order = build.start(engine, payment_id, student_id=student_id)
    build.run(
        engine,
        "INSERT INTO student_course_purchases (id, workflow_id, payment_id, line, student_id, item_type, item_id,"
        " fulfilment, status, session_count, session_count_source, purchased_at)"
        " VALUES (:id, :workflow, :payment, 1, :student, 'bundle', :item, 'test_cards', 'active', 30, 'default', :now)",
        id=order.purchase_id, workflow=order.workflow_id, payment=payment_id, student=student_id, item=item,
        now=build.NOW,
    )  # fmt: skip
    for each in subjects:
        build.run(engine, "INSERT INTO purchase_subjects VALUES (:id, :subject)", id=order.purchase_id, subject=each)
        if enrolled:
            build.run(
                engine,
                "INSERT INTO enrollments VALUES (:id, 'subject', :subject, :student, NULL, :now)",
                id=order.purchase_id, subject=each, student=student_id, now=build.NOW,
            )  # fmt: skip
    return order


def bought_card(engine: Engine, card_id: str, *, payment_id: str = "pay-1", student_id: str = "student-1") -> str:
    """One card the student may use, of a purchase of its own."""
    order = bought(engine, payment_id, student_id=student_id, enrolled=True)
    build.run(
        engine,
        "INSERT INTO mock_test_attempts (id, purchase_id, subject_id, test_number) VALUES (:id, :purchase, 'physics', 1)",
        id=card_id,
        purchase=order.purchase_id,
    )
    return card_id


def old_attempt(
    engine: Engine,
    attempt_id: str = "attempt-1",
    *,
    student_id: str = "student-1",
    state: str = "not_started",
    questions: str | None = None,
) -> str:
    """An attempt the older system left behind; `questions` is JSON."""
    build.run(
        engine,
        "INSERT INTO test_attempts (id, student_id, subject_id, title, state, questions)"
        " VALUES (:id, :student, 'physics', 'Physics, first term', :state, CAST(:questions AS jsonb))",
        id=attempt_id, student=student_id, state=state, questions=questions,
    )  # fmt: skip
    return attempt_id
