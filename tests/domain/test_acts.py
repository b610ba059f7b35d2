"""The values of each verb: good ones pass, each bad one is named."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.acts import check_values
from domain.refusals import Refused
from domain.wanted_lessons import lesson_faults, wanted_lessons

GOOD: list[tuple[str, dict[str, Any]]] = [
    ("amend", {"timeSlot": "18:00"}),
    ("amend", {"timeSlot": "18:00-19:30", "startDate": "2026-12-01", "scheduleType": "weekly", "isSundayOnly": True}),
    (
        "amend",
        {"sessionCount": 1000, "purchaseTier": 30, "groupSize": 2, "learningMode": "home", "sessionDuration": 45},
    ),
    ("amend", {"itemId": "course-chess", "itemType": "course"}),
    ("amend", {"treatAs": "renewal"}),
    ("amend", {"expiryDate": "2027-01-31", "classTypeId": "group", "courseId": "c", "processingItemId": "cart-1"}),
    ("amend", {"expiryDate": "2027-01-31T10:00:00Z"}),
    ("create_sessions", {}),
    ("create_sessions", {"count": None, "timeSlot": None}),
    ("create_sessions", {"count": 1, "startDate": "2026-12-01", "timeSlot": "18:00", "scheduleType": "daily"}),
    ("create_sessions", {"count": 1000, "sessionDuration": 90, "isSundayOnly": False}),
    ("assign_trainer", {"trainerId": "trainer-1"}),
    *[("skip_step", {"step": step}) for step in ("enroll", "assign_trainer", "approve_allocation", "create_sessions")],
    ("cancel", {}),
    *[("cancel", {"refund": refund}) for refund in ("full", "undelivered", "none", None)],
    ("approve_allocation", {}),
    ("retry_now", {}),
]

BAD: list[tuple[str, dict[str, Any], str]] = [
    ("amend", {}, "nothing to amend"),
    ("amend", {"classTime": "18:00"}, "classTime"),
    ("amend", {"campaign": "c-8"}, "campaign"),
    ("amend", {"timeSlot": None}, "timeSlot is null"),
    ("amend", {"timeSlot": "6pm"}, "timeSlot is not"),
    ("amend", {"startDate": "2026-02-30"}, "startDate"),
    ("amend", {"startDate": 20261201}, "startDate"),
    ("amend", {"scheduleType": "monthly"}, "scheduleType"),
    ("amend", {"sessionDuration": "60"}, "sessionDuration"),
    ("amend", {"isSundayOnly": "yes"}, "isSundayOnly"),
    ("amend", {"learningMode": "tv"}, "learningMode"),
    ("amend", {"groupSize": 0}, "groupSize"),
    ("amend", {"sessionCount": 0}, "sessionCount"),
    ("amend", {"sessionCount": 1001}, "sessionCount"),
    ("amend", {"sessionCount": "20"}, "sessionCount"),
    ("amend", {"sessionCount": True}, "sessionCount"),
    ("amend", {"sessionCount": 20.0}, "sessionCount"),
    ("amend", {"purchaseTier": 15}, "purchaseTier"),
    ("amend", {"purchaseTier": [10]}, "purchaseTier"),
    ("amend", {"expiryDate": "some day"}, "expiryDate"),
    ("amend", {"expiryDate": 5}, "expiryDate"),
    *[("amend", {"expiryDate": day}, "expiryDate") for day in ("9999-12-31", "0001-01-01", "2027-01-31\00010:00")],
    *[("amend", {"startDate": day}, "startDate") for day in ("9999-12-31", "0001-01-01", "2201-01-01")],
    *[("create_sessions", {"startDate": day}, "startDate") for day in ("9999-12-31", "0001-01-01")],
    *[
        ("extend", {"expiryDate": day}, "expiryDate")
        for day in ("9999-12-31", "0001-01-01", "2027-W01-1", "20270131", None)
    ],
    ("amend", {"itemId": " "}, "itemId"),
    ("amend", {"itemType": "boat"}, "itemType"),
    ("amend", {"treatAs": "gift"}, "treatAs"),
    ("amend", {"classTypeId": {}}, "classTypeId"),
    ("create_sessions", {"count": 0}, "count"),
    ("create_sessions", {"count": 1001}, "count"),
    ("create_sessions", {"count": True}, "count"),
    ("create_sessions", {"timeSlot": "25:00"}, "timeSlot"),
    ("create_sessions", {"groupSize": 2}, "groupSize"),
    ("assign_trainer", {}, "trainerId"),
    ("assign_trainer", {"trainerId": ""}, "trainerId"),
    ("assign_trainer", {"trainerId": "t", "why": "x"}, "why"),
    ("skip_step", {}, "step"),
    ("skip_step", {"step": "confirm_payment"}, "this step"),
    ("skip_step", {"step": ["enroll"]}, "step"),
    ("cancel", {"refund": "half"}, "refund"),
    ("cancel", {"amount": 5}, "amount"),
    ("approve_allocation", {"yes": True}, "yes"),
    ("retry_now", {"now": True}, "now"),
    ("explode", {}, "explode"),
]


@pytest.mark.parametrize(("verb", "values"), GOOD)
def test_good_values_have_no_fault(verb: str, values: dict[str, Any]) -> None:
    assert check_values(verb, values) == []


@pytest.mark.parametrize(("verb", "values", "named"), BAD)
def test_a_bad_value_is_named(verb: str, values: dict[str, Any], named: str) -> None:
    [fault] = check_values(verb, values)
    assert named in fault


def test_every_bad_value_is_named_at_once() -> None:
    faults = check_values("amend", {"timeSlot": "6pm", "sessionCount": 0, "campaign": 1})
    assert len(faults) == 3


json_values = st.sampled_from(
    [
        None,
        True,
        False,
        0,
        1,
        -1,
        20,
        20.0,
        float("nan"),
        "",
        "x",
        "18:00",
        "2026-12-01",
        "renewal",
        [],
        ["x"],
        {},
        {"a": 1},
    ]
)
names = st.sampled_from(["timeSlot", "startDate", "sessionCount", "purchaseTier", "count", "itemId", "treatAs", "refund",
                         "trainerId", "step", "expiryDate", "isSundayOnly", "itemType", "x"])  # fmt: skip


@given(
    st.sampled_from(["amend", "create_sessions", "assign_trainer", "skip_step", "cancel", "retry_now"]),
    st.dictionaries(names, json_values, max_size=4),
)
def test_whatever_is_said_the_check_answers_and_never_raises(verb: str, values: dict[str, Any]) -> None:
    faults = check_values(verb, values)
    assert all(len(fault) < 300 for fault in faults), json.dumps(faults)


@given(st.dictionaries(st.sampled_from(["startDate", "timeSlot", "sessionDuration", "isSundayOnly"]), json_values))
def test_a_field_alone_is_faulty_exactly_when_the_whole_would_be_refused_for_it(given: dict[str, Any]) -> None:
    whole = {"startDate": "2027-03-01", "timeSlot": "18:00", "sessionDuration": 60}
    said = {name: value for name, value in given.items() if value is not None}
    faults = lesson_faults(said)
    if not faults:
        wanted_lessons({**whole, **said})
        return
    with pytest.raises(Refused) as refused:
        wanted_lessons({**whole, **said})
    assert refused.value.message == "; ".join(faults)
