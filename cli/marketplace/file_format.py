"""The shape of the marketplace file, version 1 (spec section 9).

Strict where a wrong value would do harm later; liberal where a purchase says by itself what is wrong with it:
metadata is kept as it is, a place may be no place, a time zone unknown, a line's item not in the catalogue.
"""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, time
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field
from pydantic.alias_generators import to_camel

from domain.days import YEARS
from domain.students import is_student_id

VERSION = 1


def _utc(value: datetime) -> datetime:
    """Return the moment in UTC; without an offset it is taken as UTC. Raises ValueError."""
    if value.year not in YEARS:  # and so no offset leads out of the calendar
        raise ValueError(f"a moment from {YEARS.start} to {YEARS.stop - 1}")
    return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


def _student(said: str) -> str:
    if not is_student_id(said):
        raise ValueError("a student's id is 1 to 128 printable ASCII characters, and not 'me'")
    return said


def _from(value: object) -> time:
    if isinstance(value, str) and re.fullmatch(r"([01]\d|2[0-3]):[0-5]\d(:[0-5]\d)?", value, re.ASCII):
        return time.fromisoformat(value)
    raise ValueError("a time of day is written HH:MM")


def _to(value: object) -> time:
    """Return the time; 24:00 is no time of day, so the last second is used, which matching takes as midnight."""
    return time(23, 59, 59) if value == "24:00" else _from(value)


Id = Annotated[str, Field(pattern=r"^[^\x00-\x1f\x7f-\x9f]{1,200}$")]
StudentId = Annotated[str, AfterValidator(_student)]
Minor = Annotated[int, Field(ge=0, le=2**53)]
Small = Annotated[int, Field(ge=0, le=2**31 - 1)]
Currency = Annotated[str, Field(pattern=r"^[A-Z]{3}\z")]
From = Annotated[time, BeforeValidator(_from)]
To = Annotated[time, BeforeValidator(_to)]
Metadata = Annotated[dict[str, Any], BeforeValidator(lambda value: {} if value is None else value)]
ItemType = Literal["course", "subject", "bundle", "test"]


class Shape(BaseModel):
    """JSON types are taken as they are ("20" is no number, true is no 1); unknown keys are told, not stored."""

    model_config = ConfigDict(strict=True, frozen=True, extra="allow", alias_generator=to_camel)


class Profile(Shape):
    """Where a student lives; stored as it is, so that the purchase can say what is wrong with it."""

    timezone: Annotated[str, Field(max_length=200)] | None = None
    latitude: float | None = None
    longitude: float | None = None


class Student(Shape):
    """`coins`: the opening balance."""

    id: StudentId
    name: str
    email: str | None = None
    profile: Profile | None = None
    coins: Small = 0


class Item(Shape):
    """A subject or a test."""

    id: Id
    title: str
    price_minor: Minor
    currency: Currency
    open: bool = True


class Course(Item):
    """`fulfilment`: what the student gets."""

    fulfilment: Literal["sessions", "ownership", "test_cards"]


class Bundle(Item):
    """Several subjects sold as one."""

    subjects: list[Id]


class Hours(Shape):
    """Weekly hours in the trainer's zone; Monday is 1. A `to` before `from` is on the next day."""

    weekday: Annotated[int, Field(ge=1, le=7)]
    starts: From = Field(alias="from")
    ends: To = Field(alias="to")


class Trainer(Shape):
    """Who teaches what, where and when. `max_group_size` None: any."""

    id: Id
    name: str
    courses: list[Id]
    timezone: Annotated[str, Field(max_length=200)]
    latitude: float | None = None
    longitude: float | None = None
    radius_km: Annotated[float, Field(ge=0)]
    availability: list[Hours]
    blocked_days: list[date] = []
    max_group_size: Annotated[int, Field(ge=1, le=2**31 - 1)] | None = None


class CartItem(Shape):
    """One thing in a cart."""

    id: Id
    item_type: ItemType
    item_id: Id


class Cart(Shape):
    """What lies in a student's cart."""

    student_id: StudentId
    items: list[CartItem]


class Line(Shape):
    """One item bought; `metadata` is kept verbatim."""

    line: Annotated[int, Field(ge=1, le=2**31 - 1)]
    item_type: Id
    item_id: Id
    amount_minor: Minor
    coins: Small = 0
    metadata: Metadata = {}


class Payment(Shape):
    """One charge; its lines add up to it. Without `created_at` it is made at the import."""

    id: Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{1,64}\z")]
    student_id: StudentId
    status: Literal["pending", "succeeded", "failed", "refunded", "partially_refunded"]
    amount_minor: Minor
    currency: Currency
    lines: Annotated[list[Line], Field(min_length=1)]
    created_at: Annotated[datetime, AfterValidator(_utc)] | None = None


class Marketplace(Shape):
    """A whole file. Every list may be absent: a file may add to what was imported before."""

    version: Literal[1]
    students: list[Student] = []
    courses: list[Course] = []
    subjects: list[Item] = []
    bundles: list[Bundle] = []
    tests: list[Item] = []
    trainers: list[Trainer] = []
    carts: list[Cart] = []
    payments: list[Payment] = []
    holidays: list[date] = []
