"""One set of names, one answer out of several sources, checked lessons (mission rows 19, 22, 32, 63, 65, C5, C6)."""

from datetime import date, time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.metadata import CANONICAL, canonicalise, merge
from domain.refusals import Refused
from domain.wanted_lessons import WantedLessons, wanted_lessons

GOOD: dict[str, Any] = {"startDate": "2027-03-01", "timeSlot": "18:00"}

json_values = st.none() | st.booleans() | st.integers(0, 3) | st.sampled_from(["", "18:00", "2027-03-01", "x"])
keys_without_aliases = st.sampled_from(
    [name for name in CANONICAL if name not in ("startDate", "timeSlot")] + ["startDate", "classTime", "campaign"]
)
sources = st.dictionaries(keys_without_aliases, json_values)
any_key = st.sampled_from([*CANONICAL, "date", "preferredDate", "classTime", "preferredTimeSlot", "campaign"])
schedules = st.dictionaries(st.sampled_from(["startDate", "date", "timeSlot", "other"]), json_values)


def with_schedule(flat: dict[str, Any], schedule: Any) -> dict[str, Any]:
    return flat if schedule is None else {**flat, "schedule": schedule}


messy_sources = st.builds(
    with_schedule, st.dictionaries(any_key, json_values), st.none() | schedules | st.sampled_from(["weekly", 3])
)


@pytest.mark.parametrize(
    ("source", "field", "value"),
    [
        ({"startDate": "2027-03-01"}, "startDate", "2027-03-01"),
        ({"date": "2027-03-01"}, "startDate", "2027-03-01"),
        ({"preferredDate": "2027-03-01"}, "startDate", "2027-03-01"),
        ({"schedule": {"startDate": "2027-03-01"}}, "startDate", "2027-03-01"),
        ({"schedule": {"date": "2027-03-01"}}, "startDate", "2027-03-01"),
        ({"classTime": "18:00"}, "timeSlot", "18:00"),
        ({"timeSlot": "18:00"}, "timeSlot", "18:00"),
        ({"preferredTimeSlot": "18:00"}, "timeSlot", "18:00"),
        ({"schedule": {"timeSlot": "18:00"}}, "timeSlot", "18:00"),
        ({"startDate": None, "date": None, "preferredDate": "2027-03-01"}, "startDate", "2027-03-01"),
        ({"purchaseTier": 20}, "purchaseTier", 20),
        ({"isSundayOnly": False}, "isSundayOnly", False),
    ],
)
def test_every_alias_leads_to_its_field(source: dict[str, Any], field: str, value: object) -> None:
    result = canonicalise(source)
    assert result.fields == {field: value}
    assert result.warnings == []


def test_the_first_alias_that_is_not_null_wins_and_disagreement_warns() -> None:
    result = canonicalise({"classTime": "18:00", "timeSlot": "19:00", "schedule": {"timeSlot": "18:00"}})
    assert result.fields == {"timeSlot": "18:00"}
    assert result.warnings == ["timeSlot: timeSlot says something else than classTime, which is used"]


def test_a_schedule_that_is_no_object_is_kept_and_read_for_nothing() -> None:
    assert canonicalise({"schedule": "weekly"}).fields == {}
    assert canonicalise({"schedule": "weekly"}).extras == {"schedule": "weekly"}


@given(messy_sources)
def test_no_word_of_a_source_is_lost(source: dict[str, Any]) -> None:
    result = merge(payment=source)
    kept = {**result.fields, **result.extras}
    words = {key: value for key, value in source.items() if value is not None}
    assert {key: kept[key] for key in words} == words
    assert source.keys() <= kept.keys()
    assert set(result.fields) <= set(CANONICAL)
    assert None not in result.fields.values()


@given(payment=sources, event=sources)
def test_payment_wins_key_by_key_and_null_never_overrides(payment: dict[str, Any], event: dict[str, Any]) -> None:
    result = merge(payment=payment, event=event)
    shown = {**result.extras, **result.fields}
    for key in payment.keys() | event.keys():
        field = "timeSlot" if key == "classTime" else key
        wins = payment.get(key) is not None
        assert shown.get(field) == (payment[key] if wins else event.get(key))
        if shown.get(field) is not None:
            assert result.sources[field] == ("payment" if wins else "event")


@given(messy_sources, messy_sources, messy_sources, messy_sources, st.booleans())
def test_every_field_comes_from_the_strongest_source_that_says_it(
    amendment: dict[str, Any],
    payment: dict[str, Any],
    event: dict[str, Any],
    request: dict[str, Any],
    request_wins: bool,
) -> None:
    result = merge(amendment=amendment, payment=payment, event=event, request=request, request_wins=request_wins)
    ranked = {"admin": amendment, "payment": payment, "event": event, "request": request}
    order = ["admin", "request", "payment", "event"] if request_wins else list(ranked)
    for field in CANONICAL:
        said = [(name, value) for name in order if (value := canonicalise(ranked[name]).fields.get(field)) is not None]
        if said:
            assert (result.sources[field], result.fields[field]) == said[0]
        else:
            assert field not in result.fields


def test_a_payments_alias_beats_the_events_plain_name() -> None:
    result = merge(payment={"date": "2027-03-01"}, event={"startDate": "2027-04-01", "campaign": "c"})
    assert result.fields["startDate"] == "2027-03-01"
    assert result.extras == {"date": "2027-03-01", "campaign": "c"}
    assert result.sources == {"startDate": "payment", "date": "payment", "campaign": "event"}


def test_an_amendment_beats_every_alias_of_the_payment() -> None:
    result = merge(amendment={"timeSlot": "20:00"}, payment={"classTime": "18:00"})
    assert (result.fields["timeSlot"], result.sources["timeSlot"]) == ("20:00", "admin")
    assert result.extras == {"classTime": "18:00"}


def test_the_request_wins_on_the_manual_door_only() -> None:
    asked, paid = {"sessionDuration": 90}, {"sessionDuration": 45}
    assert merge(payment=paid, request=asked).fields["sessionDuration"] == 45
    assert merge(payment=paid, request=asked, request_wins=True).fields["sessionDuration"] == 90


def test_a_null_is_kept_as_said_but_hides_nothing() -> None:
    result = merge(payment={"purchaseTier": None, "note": None}, event={"purchaseTier": 10, "note": None})
    assert (result.fields, result.extras) == ({"purchaseTier": 10}, {"note": None})
    assert result.sources == {"purchaseTier": "event", "note": "payment"}


def test_a_warning_names_the_source_it_is_about() -> None:
    assert merge(event={"date": "2027-03-01", "startDate": "2027-03-02"}).warnings == [
        "event: startDate: date says something else than startDate, which is used"
    ]


def test_nothing_at_all_merges_to_nothing() -> None:
    result = merge()
    assert (result.fields, result.sources, result.extras, result.warnings) == ({}, {}, {}, [])


def test_what_is_absent_has_a_default() -> None:
    assert wanted_lessons(GOOD) == WantedLessons(
        date(2027, 3, 1), time(18, 0), 60, "alternate_days", sunday_only=False, learning_mode="online", group_size=1
    )


def test_null_is_absent() -> None:
    nulls = dict.fromkeys(["sessionDuration", "scheduleType", "isSundayOnly", "learningMode", "groupSize"])
    assert wanted_lessons({**nulls, **GOOD}) == wanted_lessons(GOOD)


def test_everything_said_is_taken() -> None:
    said = {
        "scheduleType": "weekly",
        "sessionDuration": 45,
        "isSundayOnly": True,
        "learningMode": "home",
        "groupSize": 4,
    }
    assert wanted_lessons({**GOOD, **said}) == WantedLessons(
        date(2027, 3, 1), time(18, 0), 45, "weekly", sunday_only=True, learning_mode="home", group_size=4
    )


@pytest.mark.parametrize(
    ("slot", "duration", "start", "minutes"),
    [
        ("18:00", None, time(18), 60),
        ("18:00-19:30", None, time(18), 90),
        ("23:30-00:30", None, time(23, 30), 60),
        ("23:00-24:00", None, time(23), 60),
        ("23:00-00:00", None, time(23), 60),
        ("18:00-19:30", 45, time(18), 45),
        ("08:00-22:00", 45, time(8), 45),
        ("00:00", 720, time(0), 720),
    ],
)
def test_a_slot_is_a_time_or_a_range_and_an_explicit_duration_wins(
    slot: str, duration: int | None, start: time, minutes: int
) -> None:
    wanted = wanted_lessons({**GOOD, "timeSlot": slot, "sessionDuration": duration})
    assert (wanted.start_time, wanted.minutes) == (start, minutes)


MALFORMED: dict[str, list[Any]] = {
    "startDate": [
        None, "", "2027-02-30", "2027-3-1", "20270301", "2027-W09-1", "01.03.2027", "2027-03-01T00:00:00Z",
        "9999-12-31", "0001-01-01", "2027-03-01\n", " 2027-03-01", "2027-03-01\0", "\u0662\u0660\u0662\u0667-03-01",
        "\ud800", 20270301, True, [], {},
    ],
    "timeSlot": [
        None, "", "24:00", "25:00", "18:60", "8:00", "18", "18.00", "6 pm", "18:00:00", "18:00\n", "18:00-", "-19:00",
        "18:00-18:00", "18:00-25:00", "19:00-18:00", "18:00 - 19:00", "18:00-19:00-20:00", 18, True, ["18:00"], {},
    ],
    "sessionDuration": [0, -60, 721, 10**30, "60", 60.0, float("nan"), True, False, "", []],
    "scheduleType": ["", "fortnightly", "Daily", "alternate", 1, True, ["daily"], {}],
    "isSundayOnly": ["true", "", 1, 0, []],
    "learningMode": ["", "offline", "Online", 1, True, ["home"]],
    "groupSize": [0, -1, "1", 1.0, True, []],
}  # fmt: skip


@pytest.mark.parametrize(("field", "value"), [(field, value) for field in MALFORMED for value in MALFORMED[field]])
def test_a_missing_or_malformed_value_is_refused_by_name(field: str, value: Any) -> None:
    with pytest.raises(Refused) as refusal:
        wanted_lessons({**GOOD, field: value})
    assert refusal.value.code == "METADATA_INCOMPLETE"
    assert refusal.value.message.startswith(f"{field} ")
    assert refusal.value.message.isascii()
    assert refusal.value.message.isprintable()


def test_every_bad_field_is_named_at_once() -> None:
    with pytest.raises(Refused) as refusal:
        wanted_lessons({"timeSlot": "25:00", "groupSize": 0, "learningMode": "x" * 10_000})
    message = refusal.value.message
    assert [name for name in CANONICAL if name in message] == ["startDate", "timeSlot", "groupSize", "learningMode"]
    assert len(message) < 400
