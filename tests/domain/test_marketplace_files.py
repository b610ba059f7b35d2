"""The pure rules alone agree with what must become of every sessions line of the marketplace files (spec section 9)."""

import json
from datetime import UTC, datetime, time
from pathlib import Path
from typing import Any

import pytest

from domain.matching import Match, Place, TrainerFacts, Window, place_of, rank
from domain.metadata import merge
from domain.refusals import Refused
from domain.schedule import first_day, plan_lessons
from domain.session_count import resolve_session_count
from domain.wanted_lessons import wanted_lessons

DATA = Path(__file__).parents[1] / "data"
NOW = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)
FILES = [("marketplace.json", "expected.json"), ("marketplace-rich.json", "expected-rich.json")]


def cases() -> list[Any]:
    """(marketplace, line, what is expected of it) of every course line, both files."""
    found: list[Any] = []
    for name, expectations in FILES:
        market = json.loads((DATA / name).read_text())
        expected = json.loads((DATA / expectations).read_text())
        for payment in market["payments"]:
            for line in payment["lines"]:
                key = f"{payment['id']}:{line['line']}"
                if "testCards" not in expected[key]:
                    found.append(pytest.param(market, line, expected[key], id=key))
    return found


ALL = cases()
COMPLETED = [case for case in ALL if case.values[2]["ending"] == "completed"]
BY_RULE = ("METADATA_INCOMPLETE", "GPS_INVALID", "NO_TRAINER_AVAILABLE")
STUCK = [case for case in ALL if case.values[2].get("code") in BY_RULE]


def clock(text: str) -> time:
    return time.max if text == "24:00" else time.fromisoformat(text)


def teachers(market: dict[str, Any], course: str) -> list[TrainerFacts]:
    return [
        TrainerFacts(
            id=one["id"],
            zone=one["timezone"],
            place=Place(one["latitude"], one["longitude"]),
            radius_km=one["radiusKm"],
            windows=tuple(
                Window(window["weekday"], clock(window["from"]), clock(window["to"])) for window in one["availability"]
            ),
            blocked_days=frozenset(),
            max_group_size=None,
            busy=False,
            load=0,
            last_assigned_at=None,
        )
        for one in market["trainers"]
        if course in one["courses"]
    ]


def planned(market: dict[str, Any], line: dict[str, Any], student_id: str) -> tuple[dict[str, Any], Match]:
    """What the rules make of a line, in the steps' order, with nobody busy."""
    profile = next(student.get("profile") for student in market["students"] if student["id"] == student_id)
    fields = merge(payment=line["metadata"]).fields
    resolved = resolve_session_count(fields)
    wanted = wanted_lessons(fields)
    home = place_of(profile["latitude"], profile["longitude"])
    first, _ = first_day(wanted, profile["timezone"], NOW)
    lessons = plan_lessons(wanted, resolved.count, profile["timezone"], first)
    match = rank(
        teachers(market, line["itemId"]),
        lessons,
        home=home,
        learning_mode=wanted.learning_mode,
        group_size=wanted.group_size,
    )
    return {
        "sessionCount": resolved.count,
        "sessionCountSource": resolved.source,
        "firstLocal": f"{lessons[0].local:%Y-%m-%dT%H:%M}",
        "lastLocal": f"{lessons[-1].local:%Y-%m-%dT%H:%M}",
        "minutes": (lessons[0].ends_at - lessons[0].starts_at).seconds // 60,
        "timezone": profile["timezone"],
    }, match


def test_the_files_hold_lines_of_every_kind() -> None:
    assert len(COMPLETED) == 86 + 53
    assert {case.values[2]["code"] for case in STUCK} == set(BY_RULE)


@pytest.mark.parametrize(("market", "line", "expected"), COMPLETED)
def test_a_completed_line_gets_exactly_the_expected_lessons_and_a_trainer(
    market: dict[str, Any], line: dict[str, Any], expected: dict[str, Any]
) -> None:
    plan, match = planned(market, line, expected["studentId"])
    assert plan == {key: expected[key] for key in plan}
    assert match.ranked


@pytest.mark.parametrize(("market", "line", "expected"), STUCK)
def test_a_line_that_needs_attention_is_refused_with_its_code(
    market: dict[str, Any], line: dict[str, Any], expected: dict[str, Any]
) -> None:
    try:
        _, match = planned(market, line, expected["studentId"])
        code = "" if match.ranked else "NO_TRAINER_AVAILABLE"
    except Refused as refusal:
        code = refusal.code
    assert code == expected["code"]
