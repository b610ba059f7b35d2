"""Lessons as iCalendar (RFC 5545): an entry per lesson, the same UID for good, a higher SEQUENCE after each change."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from icalendar import Calendar, Event

from db.reads.lessons import LessonRow
from domain.schedule import zone_named

PRODUCT = "-//Coursaga//lessons//EN"


def calendar_of(lessons: Iterable[LessonRow], with_whom: Callable[[LessonRow], str]) -> bytes:
    """A calendar of these lessons, with the time zones it names. The same lessons make the same bytes."""
    calendar = Calendar()
    _say(calendar, prodid=PRODUCT, version="2.0", method="PUBLISH")
    for lesson in lessons:
        calendar.add_component(_entry(lesson, with_whom(lesson)))
    calendar.add_missing_timezones()
    return calendar.to_ical()


def _entry(lesson: LessonRow, other: str) -> Event:
    """At wall time in its zone; a time that the clocks repeat means its first, and a length instead of an end on the
    wall cannot mean two moments."""
    entry = Event()
    _say(
        entry,
        uid=f"{lesson.allocation_id}-{lesson.number}@coursaga",
        dtstamp=lesson.written_at,
        dtstart=lesson.starts_at.astimezone(zone_named(lesson.zone)),
        duration=lesson.ends_at - lesson.starts_at,
        summary=f"{lesson.title}, lesson {lesson.number}, with {other}",
        sequence=lesson.revision,
        status="CANCELLED" if lesson.status == "cancelled" else "CONFIRMED",
    )
    return entry


def _say(part: Calendar | Event, **values: object) -> None:
    for name, value in values.items():
        part.add(name, value)  # pyright: ignore[reportUnknownMemberType] -- half typed by the library
