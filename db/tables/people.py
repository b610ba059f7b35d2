"""Who takes part: students with their places, trainers with their hours."""

from __future__ import annotations

from datetime import UTC, date, datetime, time
from typing import Annotated

from sqlalchemy import BigInteger, CheckConstraint, Index, text
from sqlmodel import Field

from db.tables.columns import Id, MaybeWords, Row, Words, defaulted, reference
from domain.students import ME, STUDENT_ID

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Student(Row, table=True):
    """A student. No profile yet = no timezone; coordinates are kept as given, so a bad one can be shown and mended."""

    __tablename__ = "students"
    __table_args__ = (
        CheckConstraint("coins_opening >= 0", name="coins_opening_not_negative"),
        CheckConstraint(f"id ~ '{STUDENT_ID}' AND id <> '{ME}'", name="student_id_shape"),
    )

    id: Id
    name: Words
    email: MaybeWords = None
    timezone: MaybeWords = None
    latitude: float | None = None
    longitude: float | None = None
    coins_opening: int = defaulted("0", 0)


class Trainer(Row, table=True):
    """A trainer; `last_assigned_at` breaks ties between equal loads (mission row 73).

    `load` counts the slots of purchases that begin after `load_since`, and none of them begins before `load_until`:
    between the two it is what the trainer holds in future. Triggers keep it (`db/loads.py` says how it follows time).
    """

    __tablename__ = "trainers"
    __table_args__ = (
        CheckConstraint("radius_km >= 0", name="radius_not_negative"),
        CheckConstraint("max_group_size >= 1", name="group_at_least_one"),
        Index("trainers_by_load", "load", text("last_assigned_at NULLS FIRST"), text('id COLLATE "C"')),
        Index("trainers_by_load_until", "load_until"),
        Index("trainers_by_load_since", "load_since"),
    )

    id: Id
    name: Words
    timezone: Words
    latitude: float | None = None
    longitude: float | None = None
    radius_km: float
    max_group_size: int | None = None
    last_assigned_at: datetime | None = None
    load: int = defaulted("0", 0, BigInteger)
    load_since: datetime = defaulted("'epoch'", EPOCH)
    load_until: datetime | None = None


class TrainerCourse(Row, table=True):
    """A course a trainer teaches. It may be named before the catalogue has it, so there is no key to the catalogue."""

    __tablename__ = "trainer_courses"
    __table_args__ = (Index("trainer_courses_by_course", "course_id"),)

    trainer_id: Annotated[str, reference("trainers.id", key=True)]
    course_id: Id


class TrainerAvailability(Row, table=True):
    """Hours a trainer works on an ISO weekday (Monday = 1), in the trainer's own zone."""

    __tablename__ = "trainer_availability"
    __table_args__ = (
        CheckConstraint("weekday BETWEEN 1 AND 7", name="weekday_iso"),
        CheckConstraint("starts <> ends", name="hours_not_empty"),
    )

    trainer_id: Annotated[str, reference("trainers.id", key=True)]
    weekday: Annotated[int, Field(primary_key=True)]
    starts: Annotated[time, Field(primary_key=True)]
    ends: time


class TrainerBlockedDay(Row, table=True):
    """A day a trainer does not work, in the trainer's own zone."""

    __tablename__ = "trainer_blocked_days"

    trainer_id: Annotated[str, reference("trainers.id", key=True)]
    day: Annotated[date, Field(primary_key=True)]


class Holiday(Row, table=True):
    """A day without lessons for anybody; plans step over it before a trainer is looked for."""

    __tablename__ = "holidays"

    day: Annotated[date, Field(primary_key=True)]
