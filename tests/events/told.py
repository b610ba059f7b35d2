"""Events as senders write them: good ones, and every kind of bad one with the reason it is refused for."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

WANTED: dict[str, Any] = {"startDate": "2026-12-01", "classTime": "18:00", "purchaseTier": 10}


def event(payment_id: str, *, student_id: str = "student-1", **data: Any) -> dict[str, Any]:
    """A payment was confirmed."""
    return {
        "id": f"event-of-{payment_id}",
        "type": "PURCHASE_CONFIRMED",
        "occurredAt": "2026-11-21T10:00:00Z",
        "key": f"payment:{payment_id}:PURCHASE_CONFIRMED",
        "data": {"paymentId": payment_id, "studentId": student_id, "status": "succeeded", "metadata": WANTED, **data},
    }


def raw(said: Any) -> bytes:
    """As bytes; NaN and Infinity as careless senders write them."""
    return json.dumps(said).encode()


def _with(**changes: Any) -> Callable[[str], bytes]:
    return lambda payment_id: raw({**event(payment_id), **changes})


def _with_data(**changes: Any) -> Callable[[str], bytes]:
    return lambda payment_id: raw(event(payment_id, **changes))


def _without(name: str) -> Callable[[str], bytes]:
    return lambda payment_id: raw({key: value for key, value in event(payment_id).items() if key != name})


def _text(change: Callable[[str], str]) -> Callable[[str], bytes]:
    return lambda payment_id: change(raw(event(payment_id)).decode()).encode()


def _deep(levels: int) -> Any:
    value: Any = 1
    for _ in range(levels):
        value = [value]
    return value


# Each kind: of a payment that is good, and why it is refused nevertheless.
POISON: dict[str, tuple[str, Callable[[str], bytes]]] = {
    "empty": ("EVENT_NOT_JSON", lambda _: b""),
    "no JSON": ("EVENT_NOT_JSON", lambda payment_id: f"paymentId={payment_id}".encode()),
    "cut off": ("EVENT_NOT_JSON", lambda payment_id: raw(event(payment_id))[:-20]),
    "two documents": ("EVENT_NOT_JSON", lambda payment_id: raw(event(payment_id)) * 2),
    "NaN": ("EVENT_NOT_JSON", _with_data(amount=float("nan"))),
    "Infinity": ("EVENT_NOT_JSON", _with_data(amount=float("inf"))),
    "minus Infinity": ("EVENT_NOT_JSON", _with_data(metadata={"price": float("-inf")})),
    "a number beyond numbers": ("EVENT_NOT_JSON", _text(lambda text: text.replace('"purchaseTier": 10', '"price": 1e999'))),
    "a number of 5000 digits": ("EVENT_NOT_JSON", _text(lambda text: text.replace("10}", "1" * 5000 + "}"))),
    "a key twice": ("EVENT_NOT_JSON", _text(lambda text: text.replace('"status"', '"studentId": "student-1", "status"'))),
    "nested without end": ("EVENT_NOT_JSON", lambda _: b"[" * 60_000),
    "byte order mark": ("EVENT_NOT_JSON", lambda payment_id: b"\xef\xbb\xbf" + raw(event(payment_id))),
    "bad UTF-8": ("EVENT_NOT_UTF8", lambda payment_id: raw(event(payment_id)).replace(b"student-1", b"st\xffdent")),
    "UTF-16": ("EVENT_NOT_UTF8", lambda payment_id: raw(event(payment_id)).decode().encode("utf-16")),
    "Latin-1": ("EVENT_NOT_UTF8", lambda payment_id: raw(event(payment_id)).replace(b"18:00", b"18 h \xe9t\xe9")),
    "too large": ("EVENT_TOO_LARGE", _with_data(metadata={"note": "a" * 100_000})),
    "a list": ("EVENT_INVALID", lambda payment_id: raw([event(payment_id)])),
    "null": ("EVENT_INVALID", lambda _: b"null"),
    "no id": ("EVENT_INVALID", _without("id")),
    "no type": ("EVENT_INVALID", _without("type")),
    "no key": ("EVENT_INVALID", _without("key")),
    "no data": ("EVENT_INVALID", _without("data")),
    "no student": ("EVENT_INVALID", _with_data(studentId=None)),
    "a number for a student": ("EVENT_INVALID", _with_data(studentId=1)),
    "a payment id with a blank": ("EVENT_INVALID", _with_data(paymentId="pay 1")),
    "not succeeded": ("EVENT_INVALID", _with_data(status="failed")),
    "refunded": ("EVENT_INVALID", _with_data(status="refunded")),
    "a status that is no text": ("EVENT_INVALID", _with_data(status=True)),
    "metadata as text": ("EVENT_INVALID", _with_data(metadata=json.dumps(WANTED))),
    "a moment without zone": ("EVENT_INVALID", _with(occurredAt="2026-11-21T10:00:00")),
    "a moment as a number": ("EVENT_INVALID", _with(occurredAt=1_795_255_200)),
    "a moment of long ago": ("EVENT_INVALID", _with(occurredAt="0001-01-01T00:00:00+14:00")),
    "NUL": ("EVENT_INVALID", _with_data(metadata={"note": "a\0b"})),
    "half a character": ("EVENT_INVALID", _with_data(metadata={"\ud800": "note"})),
    "nested deeply": ("EVENT_INVALID", _with_data(metadata={"note": _deep(40)})),
    "unknown type": ("EVENT_TYPE_UNKNOWN", _with(type="PURCHASE_DREAMT_OF")),
    "one of ours come back": ("EVENT_TYPE_UNKNOWN", _with(type="PURCHASE_CREATED")),
    "the key of another payment": ("EVENT_KEY_MISMATCH", _with(key="payment:pay-other:PURCHASE_CONFIRMED")),
    "the key of another event": ("EVENT_KEY_MISMATCH", lambda payment_id: _with(key=f"payment:{payment_id}:X")(payment_id)),
    "unknown payment": ("PAYMENT_NOT_FOUND", lambda payment_id: raw(event(f"{payment_id}-x"))),
    "another student's payment": ("PAYMENT_OWNER_MISMATCH", lambda payment_id: raw(event(payment_id, student_id="student-2"))),
}  # fmt: skip
