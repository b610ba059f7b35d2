"""Lessons as iCalendar (RFC 5545): one entry per lesson, the same UID for good, a higher SEQUENCE after each change.

Times are in UTC, which every calendar program reads alike; the text has the local time and its zone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import UTC

from icalendar import Calendar, Event

from db.reads.lessons import LessonRow

PRODUCT = "-//Coursaga//lessons//EN"


def calendar_of(lessons: Iterable[LessonRow], with_whom: Callable[[LessonRow], str]) -> bytes:
    """Return a calendar of these lessons. The same lessons make the same bytes."""
    calendar = Calendar()
    _say(calendar, prodid=PRODUCT, version="2.0", method="PUBLISH")
    for lesson in lessons:
        calendar.add_component(_entry(lesson, with_whom(lesson)))
    return calendar.to_ical()


def _entry(lesson: LessonRow, other: str) -> Event:
    entry = Event()
    _say(
        entry,
        uid=f"{lesson.allocation_id}-{lesson.number}@coursaga",
        dtstamp=lesson.written_at,
        dtstart=lesson.starts_at.astimezone(UTC),
        dtend=lesson.ends_at.astimezone(UTC),
        summary=f"{lesson.title}, lesson {lesson.number}, with {other}",
        description=f"{lesson.local_start:%Y-%m-%d %H:%M} local time ({lesson.zone})",
        sequence=lesson.revision,
        status="CANCELLED" if lesson.status == "cancelled" else "CONFIRMED",
    )
    return entry


def _say(part: Calendar | Event, **values: object) -> None:
    for name, value in values.items():
        part.add(name, value)  # pyright: ignore[reportUnknownMemberType] -- half typed by the library
