"""Turn a marketplace file into the documents that `db.marketplace` stores: one form per fact, so that two can be
compared."""

from __future__ import annotations

from typing import Any

from cli.marketplace.file_format import Item, Marketplace, Payment, Student, Trainer
from db.marketplace import Document


def documents(market: Marketplace) -> dict[str, list[Document]]:
    """Return the documents of each kind: plain JSON; sets are sorted lists, absent facts are left out."""
    catalogue = [_item("course", course, course.fulfilment) for course in market.courses]
    catalogue += [_item("subject", subject, "test_cards") for subject in market.subjects]
    catalogue += [_item("test", test, "ownership") for test in market.tests]
    for bundle in market.bundles:
        catalogue.append({**_item("bundle", bundle, "test_cards"), "subjects": sorted(set(bundle.subjects))})
    carts = [(cart.student_id, item) for cart in market.carts for item in cart.items]
    return {
        "students": [_student(student) for student in market.students],
        "catalogue": catalogue,
        "trainers": [_trainer(trainer) for trainer in market.trainers],
        "holidays": [{"key": day} for day in sorted({day.isoformat() for day in market.holidays})],
        "cartItems": [
            {"key": item.id, "studentId": student, "itemType": item.item_type, "itemId": item.item_id}
            for student, item in carts
        ],
        "payments": [_payment(payment) for payment in market.payments],
    }


def _student(student: Student) -> Document:
    document: Document = {"key": student.id, "name": student.name, "email": student.email, "coins": student.coins}
    profile = student.profile.model_dump(exclude=set(student.profile.model_extra or ())) if student.profile else {}
    if any(value is not None for value in profile.values()):
        document["profile"] = profile
    return document


def _item(item_type: str, item: Item, fulfilment: str) -> Document:
    return {
        "key": f"{item_type}/{item.id}",
        "itemType": item_type,
        "id": item.id,
        "title": item.title,
        "priceMinor": item.price_minor,
        "currency": item.currency,
        "fulfilment": fulfilment,
        "open": item.open,
    }


def _trainer(trainer: Trainer) -> Document:
    hours = sorted(trainer.availability, key=lambda one: (one.weekday, one.starts))
    return {
        "key": trainer.id,
        "name": trainer.name,
        "timezone": trainer.timezone,
        "latitude": trainer.latitude,
        "longitude": trainer.longitude,
        "radiusKm": trainer.radius_km,
        "maxGroupSize": trainer.max_group_size,
        "courses": sorted(set(trainer.courses)),
        "availability": [
            {"weekday": one.weekday, "from": one.starts.isoformat(), "to": one.ends.isoformat()} for one in hours
        ],
        "blockedDays": sorted({day.isoformat() for day in trainer.blocked_days}),
    }


def _payment(payment: Payment) -> Document:
    lines: list[dict[str, Any]] = [
        {
            "line": line.line,
            "itemType": line.item_type,
            "itemId": line.item_id,
            "amountMinor": line.amount_minor,
            "coins": line.coins,
            "metadata": line.metadata,
        }
        for line in sorted(payment.lines, key=lambda line: line.line)
    ]
    document: Document = {
        "key": payment.id,
        "studentId": payment.student_id,
        "status": payment.status,
        "amountMinor": payment.amount_minor,
        "currency": payment.currency,
        "lines": lines,
    }
    if payment.created_at is not None:
        document["createdAt"] = payment.created_at.strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    return document
