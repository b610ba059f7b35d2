"""Read an event of another system from its bytes, or refuse it with a typed reason (spec section 7).

The envelope is `{id, type, occurredAt, key, data}`. Unknown fields are ignored, as senders may add to their events;
known fields are read strictly.
"""

from __future__ import annotations

import json
import math
from datetime import datetime
from typing import Annotated, Any, Literal, NoReturn, cast

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError
from pydantic.alias_generators import to_camel
from pydantic.config import JsonDict

from application.errors import Unprocessable
from application.ids import Key, PaymentId, StudentId
from application.storable_json import require_storable
from domain.ids import confirmed_key_of
from domain.metadata import named

PURCHASE_CONFIRMED = "PURCHASE_CONFIRMED"
LARGEST = 64 * 1024  # bytes, as of every body of the API; ids and the details of some lessons are far smaller
_PLAUSIBLE_YEARS = range(2000, 2101)  # outside of these a moment is an error of the sender

EXAMPLE: JsonDict = {
    "id": "018f4c1e-9d5b-7c3a-8a51-0a6d1b1f3c7e",
    "type": PURCHASE_CONFIRMED,
    "occurredAt": "2026-11-21T10:00:00Z",
    "key": confirmed_key_of("pay-1", PURCHASE_CONFIRMED),
    "data": {
        "paymentId": "pay-1",
        "studentId": "student-1",
        "status": "succeeded",
        "metadata": {"startDate": "2026-12-01", "classTime": "18:00", "purchaseTier": 10},
    },
}


def _moment(value: object) -> datetime:
    if not isinstance(value, str):
        raise ValueError("must be text, as 2026-11-21T10:00:00Z")
    moment = datetime.fromisoformat(value)
    if moment.tzinfo is None or moment.year not in _PLAUSIBLE_YEARS:
        raise ValueError("must be a moment of our days, with its offset from UTC")
    return moment


class _Told(BaseModel):
    model_config = ConfigDict(alias_generator=to_camel, extra="ignore", strict=True)


class ConfirmedData(_Told):
    """Which payment was confirmed, and what the buyer asked for. `status` says no more than the event's type does."""

    payment_id: PaymentId
    student_id: StudentId
    status: Literal["succeeded"] | None = None
    metadata: dict[str, Any] = Field(default_factory=dict[str, Any])


class PurchaseConfirmed(_Told):
    """A payment was confirmed: every line of it is to be fulfilled."""

    id: Key
    type: Literal["PURCHASE_CONFIRMED"]
    occurred_at: Annotated[datetime, BeforeValidator(_moment, json_schema_input_type=str)]
    key: Key
    data: ConfirmedData
    model_config = ConfigDict(json_schema_extra={"examples": [EXAMPLE]})


def read_event(raw: bytes) -> PurchaseConfirmed:
    """Parse and check an event. Raises `Unprocessable` with the reason; trying the same bytes again never helps."""
    if len(raw) > LARGEST:
        raise Unprocessable(code="EVENT_TOO_LARGE", detail=f"An event has {LARGEST} bytes at most, not {len(raw)}.")
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError as err:
        raise Unprocessable(code="EVENT_NOT_UTF8", detail=f"Byte {err.start} is not UTF-8.") from None
    said = _json(text)
    try:
        require_storable(said)
    except ValueError as err:
        raise Unprocessable(code="EVENT_INVALID", detail=f"It {err}.") from None
    return _shaped(said)


def _json(text: str) -> Any:
    try:
        return json.loads(text, parse_constant=_not_a_number, parse_float=_finite, object_pairs_hook=each_key_once)
    except RecursionError:
        raise Unprocessable(code="EVENT_NOT_JSON", detail="It is nested too deeply.") from None
    except ValueError as err:  # also a number of thousands of digits
        raise Unprocessable(code="EVENT_NOT_JSON", detail=str(err)[:200]) from None


def _shaped(said: Any) -> PurchaseConfirmed:
    kind: Any = cast("dict[str, Any]", said).get("type") if isinstance(said, dict) else None
    if isinstance(kind, str) and kind != PURCHASE_CONFIRMED:
        raise Unprocessable(
            code="EVENT_TYPE_UNKNOWN", detail=f"{named(kind)} is no type of ours: {PURCHASE_CONFIRMED} is."
        )
    try:
        event = PurchaseConfirmed.model_validate(said)
    except ValidationError as err:
        wrong = [f"{'.'.join(map(str, each['loc'])) or 'event'}: {each['msg']}" for each in err.errors()[:5]]
        raise Unprocessable(code="EVENT_INVALID", detail="; ".join(wrong)[:500]) from None
    wanted = confirmed_key_of(event.data.payment_id, PURCHASE_CONFIRMED)
    if event.key != wanted:
        raise Unprocessable(
            code="EVENT_KEY_MISMATCH", detail=f"The key of this event is payment:{{paymentId}}:{PURCHASE_CONFIRMED}."
        )
    return event


def _not_a_number(name: str) -> NoReturn:
    raise ValueError(f"{name} is not a number of JSON")


def _finite(digits: str) -> float:
    number = float(digits)
    if not math.isfinite(number):
        raise ValueError("a number is larger than any number here")
    return number


def each_key_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Build an object for `json.loads` (`object_pairs_hook`). Raises ValueError when it names a key twice."""
    said = dict(pairs)
    if len(said) < len(pairs):
        raise ValueError("an object names the same key twice")
    return said
