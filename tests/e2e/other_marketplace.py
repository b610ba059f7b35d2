"""A marketplace file of the shape of marketplace-rich.json with other contents, and what must become of its lines."""

from __future__ import annotations

from random import Random
from typing import Any

CARDS = 50
PAYMENTS = 12
CLOSED, OWNED = "course-closed-too", "course-materials"
_HOME = {"timezone": "Pacific/Auckland", "latitude": -36.85, "longitude": 174.76}
_ALWAYS = [{"weekday": day, "from": "00:00", "to": "24:00"} for day in range(1, 8)]
_PRICE = {"priceMinor": 1000, "currency": "NZD"}


def other_marketplace(chance: Random) -> tuple[dict[str, Any], dict[str, dict[str, Any]]]:
    """The file, and `{paymentId}:{line}` with the fields that each line must have."""
    name = f"o{chance.randrange(10**6)}"
    subjects = [f"{name}-subject-{number}" for number in range(7)]
    bundles = {f"{name}-bundle-{number}": chance.sample(subjects, chance.randint(2, 5)) for number in range(4)}
    for named in bundles.values():  # they overlap, and each names one of its subjects twice
        named.append(chance.choice(named))
    expected: dict[str, dict[str, Any]] = {}
    file: dict[str, Any] = {
        "version": 1,
        "students": [], "trainers": [], "carts": [], "payments": [],
        "courses": [
            {"id": f"{name}-{CLOSED}", "title": "Closed", **_PRICE, "fulfilment": "sessions", "open": False},
            {"id": f"{name}-{OWNED}", "title": "Materials", **_PRICE, "fulfilment": "ownership", "open": True},
        ],
        "subjects": [{"id": each, "title": each, **_PRICE} for each in subjects],
        "bundles": [{"id": each, "title": each, "subjects": named, **_PRICE} for each, named in bundles.items()],
    }  # fmt: skip
    for number in range(PAYMENTS):
        _add_payment(chance, f"{name}-{number}", file, bundles, expected, failed=number == 7)
    return file, expected


def _add_payment(
    chance: Random,
    name: str,
    file: dict[str, Any],
    bundles: dict[str, list[str]],
    expected: dict[str, dict[str, Any]],
    *,
    failed: bool,
) -> None:
    student = {"id": f"student-{name}", "name": name, "email": f"{name}@example.test", "coins": 400, "profile": _HOME}
    kinds = chance.sample(("subject", "bundle", "owned", "closed", "lessons", "unknown"), chance.randint(1, 3))
    lines: list[dict[str, Any]] = []
    for line, kind in enumerate(kinds, start=1):
        item_type, item, metadata, becomes = _line(chance, kind, name, file, bundles)
        coins = chance.choice((0, 100)) if kind in ("subject", "bundle") else 0
        lines.append(
            {"line": line, "itemType": item_type, "itemId": item, "amountMinor": 1000 - coins, "coins": coins,
             "metadata": {"campaign": "other", **metadata}}
        )  # fmt: skip
        if failed:
            becomes = {"ending": "refused", "code": "PAYMENT_NOT_SUCCEEDED", "refunded": False}
        expected[f"pay-{name}:{line}"] = {"kind": kind, "studentId": student["id"], **becomes}
    total = sum(line["amountMinor"] for line in lines)
    file["students"].append(student)
    file["payments"].append(
        {"id": f"pay-{name}", "studentId": student["id"], "status": "failed" if failed else "succeeded",
         "amountMinor": total, "currency": "NZD", "lines": lines}
    )  # fmt: skip


def _line(
    chance: Random, kind: str, name: str, file: dict[str, Any], bundles: dict[str, list[str]]
) -> tuple[str, str, dict[str, Any], dict[str, Any]]:
    """Item type, item, metadata, and what must become of it."""
    done = {"ending": "completed", "code": None}
    closed, owned = (course["id"] for course in file["courses"][:2])
    match kind:
        case "subject":
            return "subject", chance.choice(file["subjects"])["id"], {}, done | {"testCards": CARDS}
        case "bundle":
            item = chance.choice(list(bundles))
            return "bundle", item, {}, done | {"testCards": CARDS * len(set(bundles[item]))}
        case "owned":
            return "course", owned, {"courseId": owned}, done | {"testCards": 0}
        case "closed":
            becomes = {"ending": "refused", "code": "COURSE_UNAVAILABLE", "refunded": True, "testCards": 0}
            return "course", closed, {"courseId": closed}, becomes
        case "unknown":
            return "subject", f"{name}-nothing", {}, {"ending": "attention", "code": "UNKNOWN_ITEM", "testCards": 0}
        case _:
            return _lessons(chance, name, file, done)


def _lessons(
    chance: Random, name: str, file: dict[str, Any], done: dict[str, Any]
) -> tuple[str, str, dict[str, Any], dict[str, Any]]:
    """A course of its own with a trainer who always has time."""
    course, tier = f"course-{name}", chance.choice((10, 20, 30))
    file["courses"].append({"id": course, "title": course, **_PRICE, "fulfilment": "sessions", "open": True})
    file["trainers"].append(
        {
            "id": f"trainer-{name}",
            "name": name,
            "courses": [course],
            "radiusKm": 20000,
            "availability": _ALWAYS,
            **_HOME,
        }
    )
    metadata = {
        "courseId": course, "startDate": "2026-12-07", "classTime": "18:00", "purchaseTier": tier,
        "scheduleType": "daily",
    }  # fmt: skip
    becomes = {"sessionCount": tier, "sessionCountSource": "purchaseTier", "firstLocal": "2026-12-07T18:00"}
    return "course", course, metadata, done | becomes | {"minutes": 60, "timezone": _HOME["timezone"]}
