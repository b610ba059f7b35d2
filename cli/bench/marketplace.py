"""Make the bench's marketplace: as many students, payments and free trainers as it needs, in the import format."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any

from domain.ids import purchase_id_of, workflow_id_of
from domain.purchase import PurchaseOrder

LESSONS = 30
_COURSES = 5
_TRAINERS = 4  # of each course
_HOURS = range(8, 20)  # a lesson each
_ALL_WEEK = [{"weekday": day, "from": "08:00", "to": "21:00"} for day in range(1, 8)]
_HOME = {"latitude": 51.5074, "longitude": -0.1278}


@dataclass(frozen=True)
class Orders:
    """The purchases of one side: first to warm up, then one at a time, then many at once."""

    warm: list[PurchaseOrder]
    alone: list[PurchaseOrder]
    many: list[PurchaseOrder]


@dataclass(frozen=True)
class Market:
    """`content` is the file to import. All sides have courses, trainers and students of their own, of the same kind.

    `parked`: purchases of courses that nobody teaches. `visitors`: students who have bought nothing yet, each with what
    is to be put into their cart.
    """

    content: dict[str, Any]
    sides: dict[str, Orders]
    parked: list[PurchaseOrder]
    visitors: dict[str, dict[str, Any]]


def marketplace(
    today: date, sides: Sequence[str], *, warm: int, alone: int, many: int, parked: int, mark: str, visitors: int = 0
) -> Market:
    """Return a market with a purchase of 30 daily lessons per student, for each of which a trainer is free.

    `mark` is part of the payment ids: a Temporal server that outlives the bench must not have seen them.
    """
    content: dict[str, Any] = {"version": 1}
    of_sides: dict[str, Orders] = {}
    for side in sides:
        _open_shop(content, side)
        orders = [_sell(content, side, number, today, mark) for number in range(warm + alone + many)]
        of_sides[side] = Orders(orders[:warm], orders[warm : warm + alone], orders[warm + alone :])
    _open_shop(content, "parked", trainers=0)
    waiting = [_sell(content, "parked", number, today, mark) for number in range(parked)]
    _open_shop(content, "visitor")
    visiting = dict(_visit(content, "visitor", number, today) for number in range(visitors))
    return Market(content, of_sides, waiting, visiting)


def teachers_of_parked() -> dict[str, Any]:
    """Return the trainers, in the import format, who make every parked purchase possible."""
    content: dict[str, Any] = {"version": 1}
    _open_shop(content, "parked")
    return content


def _open_shop(content: dict[str, Any], side: str, trainers: int = _TRAINERS) -> None:
    for course in _courses(side):
        _add(content, "courses", id=course, title=course, priceMinor=30000, currency="GBP", fulfilment="sessions")
        for number in range(trainers):
            name = f"{course}-trainer-{number}"
            facts = {"timezone": "Europe/London", **_HOME, "radiusKm": 25, "availability": _ALL_WEEK}
            _add(content, "trainers", id=name, name=name, courses=[course], **facts)


def _sell(content: dict[str, Any], side: str, number: int, today: date, mark: str) -> PurchaseOrder:
    """Add one purchase, paid already."""
    student, wanted = _visit(content, side, number, today)
    course, payment, cart_item = wanted["itemId"], f"bench-{mark}-{side}-{number}", f"{side}-cart-{number}"
    metadata = {**wanted["metadata"], "processingItemId": cart_item}
    line = {"line": 1, "itemType": "course", "itemId": course, "amountMinor": 30000, "metadata": metadata}
    _add(content, "carts", studentId=student, items=[{"id": cart_item, "itemType": "course", "itemId": course}])
    paid = {"status": "succeeded", "amountMinor": 30000, "currency": "GBP"}
    _add(content, "payments", id=payment, studentId=student, **paid, lines=[line])
    workflow_id = workflow_id_of(payment, 1)
    return PurchaseOrder(purchase_id_of(workflow_id), workflow_id, payment, 1, student)


def _visit(content: dict[str, Any], side: str, number: int, today: date) -> tuple[str, dict[str, Any]]:
    """Add a student; return the id, and what this student wants.

    The courses take turns; each hour of a course is wanted once per trainer, then again after those lessons' end.
    """
    course = _courses(side)[number % _COURSES]
    block, hour = divmod(number // _COURSES, len(_HOURS))
    starts = today + timedelta(days=7 + LESSONS * (block // _TRAINERS))
    student = f"{side}-student-{number}"
    metadata = {
        "courseId": course,
        "purchaseTier": LESSONS,
        "startDate": starts.isoformat(),
        "classTime": f"{_HOURS[hour]:02}:00",
        "scheduleType": "daily",
        "learningMode": "online",
    }
    _add(content, "students", id=student, name=student, profile={"timezone": "Europe/London", **_HOME})
    return student, {"itemType": "course", "itemId": course, "metadata": metadata}


def _courses(side: str) -> list[str]:
    return [f"{side}-course-{number}" for number in range(_COURSES)]


def _add(content: dict[str, Any], kind: str, **entry: Any) -> None:
    content.setdefault(kind, []).append(entry)
