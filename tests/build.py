"""Builders: students, courses, trainers, payments, purchases in a known state, each one line in a test."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Engine, text

from domain.ids import purchase_id_of, workflow_id_of
from domain.purchase import PurchaseOrder
from gateways.payments import ProviderLine, ProviderPayment
from tests.gateways.in_memory import FakeProvider
from tests.roles import owner_of

NOW = datetime(2026, 11, 21, 10, 0, tzinfo=UTC)
LESSONS: dict[str, Any] = {
    "courseId": "course-piano",
    "startDate": "2026-12-01",
    "classTime": "18:00",
    "sessionDuration": 60,
    "purchaseTier": 10,
    "scheduleType": "daily",
}


def run(engine: Engine, statement: str, **values: object) -> None:
    """Execute one statement and commit, as the owner of the database whosever the engine is."""
    with owner_of(engine).begin() as connection:
        connection.execute(text(statement), values)


def rows(engine: Engine, query: str, **values: object) -> list[Any]:
    """All rows of a query, asked as the owner."""
    with owner_of(engine).connect() as connection:
        return list(connection.execute(text(query), values).all())


def value(engine: Engine, query: str, **values: object) -> Any:
    """The single value of a query, None when there is no row. Asked as the owner."""
    with owner_of(engine).connect() as connection:
        return connection.execute(text(query), values).scalar_one_or_none()


def student(
    engine: Engine,
    student_id: str = "student-1",
    *,
    timezone: str | None = "Europe/London",
    latitude: float | None = 51.5,
    longitude: float | None = -0.12,
    coins: int = 0,
) -> str:
    """A student; `timezone=None` = no profile; `coins` = the opening balance."""
    run(
        engine,
        "INSERT INTO students (id, name, email, timezone, latitude, longitude, coins_opening)"
        " VALUES (:id, :id, NULL, :timezone, :latitude, :longitude, :coins) ON CONFLICT DO NOTHING",
        id=student_id, timezone=timezone, latitude=latitude, longitude=longitude, coins=coins,
    )  # fmt: skip
    return student_id


def item(
    engine: Engine, item_id: str = "course-piano", *, item_type: str = "course", fulfilment: str = "sessions",
    is_open: bool = True, price_minor: int = 50000, currency: str = "USD",
) -> str:  # fmt: skip
    """An item of the catalogue."""
    run(
        engine,
        "INSERT INTO catalogue_items (item_type, id, title, price_minor, currency, fulfilment, open)"
        " VALUES (:item_type, :id, :id, :price, :currency, :fulfilment, :open) ON CONFLICT DO NOTHING",
        item_type=item_type, id=item_id, fulfilment=fulfilment, open=is_open, price=price_minor, currency=currency,
    )  # fmt: skip
    return item_id


def trainer(
    engine: Engine,
    trainer_id: str = "trainer-1",
    *,
    courses: tuple[str, ...] = ("course-piano",),
    timezone: str = "Europe/London",
    latitude: float | None = 51.5,
    longitude: float | None = -0.12,
    radius_km: float = 30,
    max_group_size: int | None = None,
    hours: tuple[str, str] = ("06:00", "22:30"),
    last_assigned_at: datetime | None = None,
) -> str:
    """A trainer who works every day of the week within `hours`, wall time in `timezone`."""
    run(
        engine,
        "INSERT INTO trainers (id, name, timezone, latitude, longitude, radius_km, max_group_size, last_assigned_at)"
        " VALUES (:id, :id, :timezone, :latitude, :longitude, :radius_km, :max_group_size, :last_assigned_at)",
        id=trainer_id, timezone=timezone, latitude=latitude, longitude=longitude, radius_km=radius_km,
        max_group_size=max_group_size, last_assigned_at=last_assigned_at,
    )  # fmt: skip
    for course in courses:
        run(engine, "INSERT INTO trainer_courses VALUES (:trainer, :course)", trainer=trainer_id, course=course)
    run(
        engine,
        "INSERT INTO trainer_availability (trainer_id, weekday, starts, ends)"
        " SELECT :trainer, weekday, CAST(:starts AS time), CAST(:ends AS time) FROM generate_series(1, 7) AS weekday",
        trainer=trainer_id, starts=hours[0], ends=hours[1],
    )  # fmt: skip
    return trainer_id


def cart_item(engine: Engine, cart_item_id: str, *, student_id: str = "student-1", item_type: str = "course",
              item_id: str = "course-piano") -> str:  # fmt: skip
    """One thing in a cart."""
    run(engine, "INSERT INTO cart_items (id, student_id, item_type, item_id) VALUES (:id, :student, :item_type, :item_id)",
        id=cart_item_id, student=student_id, item_type=item_type, item_id=item_id)  # fmt: skip
    return cart_item_id


def pay(
    engine: Engine,
    provider: FakeProvider | None = None,
    payment_id: str = "pay-1",
    *,
    student_id: str = "student-1",
    status: str = "succeeded",
    items: tuple[tuple[str, str], ...] = (("course", "course-piano"),),
    amount_minor: int = 50000,
    metadata: dict[str, Any] | None = None,
    created_at: datetime = NOW,
    coins: int = 0,
) -> str:
    """A payment with one line of `amount_minor` and `coins` per item, each with `metadata` (LESSONS unless said)."""
    total = amount_minor * len(items)
    run(
        engine, "INSERT INTO payments VALUES (:id, :student, :status, :amount, 'USD', :at)",
        id=payment_id, student=student_id, status=status, amount=total, at=created_at,
    )  # fmt: skip
    for number, (item_type, item_id) in enumerate(items, start=1):
        run(
            engine,
            "INSERT INTO payment_lines VALUES (:id, :line, :item_type, :item_id, :amount, :coins, CAST(:metadata AS jsonb))",
            id=payment_id, line=number, item_type=item_type, item_id=item_id, amount=amount_minor, coins=coins,
            metadata=json.dumps(LESSONS if metadata is None else metadata),
        )  # fmt: skip
    if provider is not None:
        lines = tuple(ProviderLine(number, amount_minor) for number in range(1, len(items) + 1))
        provider.payments[payment_id] = ProviderPayment(payment_id, student_id, status, total, "USD", lines)
    return payment_id


def start(
    engine: Engine,
    payment_id: str = "pay-1",
    *,
    line: int = 1,
    student_id: str = "student-1",
    origin: str = "checkout",
    event_metadata: dict[str, Any] | None = None,
) -> PurchaseOrder:
    """A started purchase as a door leaves it: the row of `purchase_starts`, no step done."""
    workflow_id = workflow_id_of(payment_id, line)
    order = PurchaseOrder(purchase_id_of(workflow_id), workflow_id, payment_id, line, student_id, origin)
    run(
        engine,
        "INSERT INTO purchase_starts"
        " (purchase_id, workflow_id, payment_id, line, student_id, origin, attempt, event_metadata, started_at)"
        " VALUES (:purchase, :workflow, :payment, :line, :student, :origin, 1, CAST(:event AS jsonb), :now)",
        purchase=order.purchase_id, workflow=workflow_id, payment=payment_id, line=line, student=student_id,
        origin=origin, event=None if event_metadata is None else json.dumps(event_metadata), now=NOW,
    )  # fmt: skip
    return order


def purchase(
    engine: Engine,
    payment_id: str = "pay-1",
    *,
    student_id: str = "student-1",
    item_id: str = "course-piano",
    fulfilment: str = "sessions",
    session_count: int = 10,
    fields: dict[str, Any] | None = None,
    series_start: str | None = "2026-12-01",
) -> PurchaseOrder:
    """An active purchase just created: student, item, payment, start, purchase row; no activity ran.

    `fields` are canonical (timeSlot, not classTime); the defaults plan `session_count` daily lessons at 18:00.
    """
    student(engine, student_id)
    item(engine, item_id, fulfilment=fulfilment)
    pay(engine, None, payment_id, student_id=student_id, items=(("course", item_id),))
    order = start(engine, payment_id, student_id=student_id)
    canonical = {
        "courseId": item_id, "startDate": "2026-12-01", "timeSlot": "18:00", "sessionDuration": 60,
        "scheduleType": "daily", "purchaseTier": session_count,
    }  # fmt: skip
    run(
        engine,
        "INSERT INTO student_course_purchases"
        " (id, workflow_id, payment_id, line, student_id, item_type, item_id, fulfilment, status, session_count,"
        "  session_count_source, metadata, series_start, purchased_at)"
        " VALUES (:id, :workflow, :payment, 1, :student, 'course', :item, :fulfilment, 'active', :count,"
        "  'purchaseTier', CAST(:fields AS jsonb), CAST(:series AS date), :now)",
        id=order.purchase_id, workflow=order.workflow_id, payment=payment_id, student=student_id, item=item_id,
        fulfilment=fulfilment, count=session_count, series=series_start, now=NOW,
        fields=json.dumps({**canonical, **(fields or {})}),
    )  # fmt: skip
    run(
        engine, "INSERT INTO ownerships VALUES (:id, 'course', :item, :student, :now, NULL)",
        id=order.purchase_id, item=item_id, student=student_id, now=NOW,
    )  # fmt: skip
    return order
