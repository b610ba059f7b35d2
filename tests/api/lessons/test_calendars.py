"""Calendars of lessons, read to the letter of RFC 5545: the moments of the API, in UTC, whatever the zone does."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from api.lessons.calendars import calendar_of
from db.reads.lessons import LessonRow
from tests.build import NOW

LINE = re.compile(r"(?P<name>[A-Z-]+)(?P<parameters>(;[A-Z-]+=[^;:\",]+)*):(?P<value>.*)", re.DOTALL)
MOMENT = re.compile(r"\d{8}T\d{6}Z")
ONCE = {"UID", "DTSTAMP", "DTSTART", "DTEND", "SUMMARY", "DESCRIPTION", "SEQUENCE", "STATUS"}
ODD = 'Piano; for \\ beginners, "easy"\r\nEND:VEVENT\r\n' + "müsli \U0001f3b9 " * 30


def lesson(wall: str, zone: str, title: str = "Piano", number: int = 1) -> LessonRow:
    local = datetime.fromisoformat(wall)
    starts_at = local.replace(tzinfo=ZoneInfo(zone)).astimezone(UTC)
    return LessonRow(
        "a-1", number, "p-1", "student-1", "trainer-1", "Tim", "course-piano", title, starts_at,
        starts_at + timedelta(hours=1), local, zone, None, None, "scheduled", 0, NOW,
    )  # fmt: skip


def lines_of(document: bytes) -> list[tuple[str, str, str]]:
    """Name, parameters and value of each content line; asserts that it is one."""
    assert document.endswith(b"\r\n")
    found: list[bytes] = []
    for raw in document[:-2].split(b"\r\n"):
        assert len(raw) <= 75, "a line is at most 75 octets long"
        assert raw.strip(b" \t"), "no line is empty"
        raw.decode()  # a fold splits no character
        assert not re.search(rb"[\x00-\x08\x0a-\x1f\x7f]", raw), "no control characters"
        if raw[:1] == b" ":
            found[-1] += raw[1:]
        else:
            found.append(raw)
    split = [LINE.fullmatch(line.decode()) for line in found]
    assert all(split), "each line is a name, its parameters and a value"
    return [(each["name"], each["parameters"], each["value"]) for each in split if each]


def text_of(value: str) -> str:
    assert not re.search(r"(?<!\\)(\\\\)*[;,]", value), "separators are escaped"
    return re.sub(r"\\(.)", lambda found: {"n": "\n", "N": "\n"}.get(found[1], found[1]), value)


def events_of(document: bytes) -> list[dict[str, str]]:
    """The events of a calendar that consists of nothing else."""
    lines = lines_of(document)
    assert [line[0] for line in lines[:1] + lines[-1:]] == ["BEGIN", "END"]
    assert {line[2] for line in lines if line[0] in ("BEGIN", "END")} <= {"VCALENDAR", "VEVENT"}
    events: list[dict[str, str]] = []
    inside = False
    for name, parameters, value in lines:
        if (name, value) in (("BEGIN", "VEVENT"), ("END", "VEVENT")):
            assert inside is (name == "END")
            inside = name == "BEGIN"
            events += [{}] if inside else []
        elif inside:
            assert not parameters, "no time zone, no value of another type"
            assert name not in events[-1], f"{name} is there once"
            events[-1][name] = value
    assert not inside
    return events


@pytest.mark.parametrize(
    ("zone", "local"),
    [
        ("Europe/London", "2026-12-03 18:00"),
        ("Europe/London", "2045-07-03 18:00"),  # long after what 32 bits hold
        ("America/New_York", "2027-03-14 03:30"),  # the morning on which an hour is skipped
        ("Asia/Kathmandu", "2027-01-01 00:15"),
        ("Africa/Casablanca", "2027-03-01 09:00"),  # winter time in Ramadan
        ("Pacific/Apia", "2028-02-29 23:30"),
    ],
)
def test_an_event_is_at_the_moment_of_its_lesson(zone: str, local: str) -> None:
    row = lesson(local, zone)
    [event] = events_of(calendar_of([row], lambda _: "Tim"))
    assert event.keys() == ONCE
    assert all(MOMENT.fullmatch(event[name]) for name in ("DTSTAMP", "DTSTART", "DTEND"))
    for name, moment in (("DTSTART", row.starts_at), ("DTEND", row.ends_at)):
        assert datetime.strptime(event[name], "%Y%m%dT%H%M%S%z") == moment
    assert text_of(event["DESCRIPTION"]) == f"{local} local time ({zone})"


def test_whatever_a_title_says_stays_in_its_line() -> None:
    rows = [lesson(f"2026-12-{day:02} 18:00", "Europe/London", ODD, number=day) for day in (1, 2)]
    events = events_of(calendar_of(rows, lambda _: ODD))
    assert [event["UID"] for event in events] == ["a-1-1@coursaga", "a-1-2@coursaga"]
    told = text_of(events[0]["SUMMARY"])
    assert told == f"{ODD}, lesson 1, with {ODD}".replace("\r\n", "\n")


def test_the_same_lessons_make_the_same_bytes() -> None:
    rows = [lesson("2026-12-01 18:00", "Europe/London")]
    assert calendar_of(rows, lambda _: "Tim") == calendar_of(rows, lambda _: "Tim")
