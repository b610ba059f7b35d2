"""`coursaga purchases create`: give a student a course by hand, through the direct door (mission rows 58, 59)."""

from __future__ import annotations

from typing import Annotated, Any
from uuid import uuid4

from cyclopts import Parameter

from cli.api_client import open_api
from cli.operators.acts import Actor, Reason, changes_of
from cli.output import FINE, Json, print_json, print_line

Details = Annotated[
    list[str] | None,
    Parameter(name="--set", negative=(), help="key=value of the metadata, as startDate=2026-12-01, as often as needed"),
]
Key = Annotated[str | None, Parameter(help="Makes it happen once: the same key again is the same purchase.")]


async def create(
    *,
    student: str,
    course: str,
    reason: Reason,
    tier: Annotated[int | None, Parameter(help="10, 20 or 30 lessons")] = None,
    expires: Annotated[str | None, Parameter(help="last day of access, YYYY-MM-DD")] = None,
    details: Details = None,
    payment: Annotated[str | None, Parameter(help="the payment it belongs to; none: nothing is paid")] = None,
    line: Annotated[int | None, Parameter(help="of the payment, where it has the course twice")] = None,
    supersede: Annotated[bool, Parameter(negative=(), help="although the student has the course already")] = False,
    request_key: Key = None,
    actor: Actor = None,
    json: Json = False,
) -> int:
    """Give a student a course by hand, or start one line of a payment: --set startDate=2026-12-01 --set timeSlot=18:00.

    What the student has already is answered, not given twice.
    """
    given: dict[str, Any] = {
        "purchaseTier": tier, "expiryDate": expires, "paymentId": payment, "line": line,
        "supersede": supersede or None, "metadata": changes_of(details) if details else None,
    }  # fmt: skip
    body = {"studentId": student, "courseId": course, "reason": reason}
    body |= {name: value for name, value in given.items() if value is not None}
    key = request_key or f"cli-{uuid4()}"
    async with open_api(actor) as api:
        _, answer = await api.post("/api/v1/purchases", body, {"Idempotency-Key": key})
    if json:
        print_json(answer)
    else:
        print_line(f"{answer['data']['workflowId']}: {answer['message']}")
    return FINE
