"""The ids a caller may send, checked before anything else happens."""

from __future__ import annotations

from typing import Annotated

from fastapi import Depends, Header, Path
from pydantic import BeforeValidator, Field

from api.http.auth import CallerDep
from api.http.paths import decoded
from application.ids import GIVEN_PATTERN
from domain.ids import purchase_id_of
from domain.students import ME, STUDENT_ID

_PURCHASE_ID = r"^([0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}|purchase:[^\x00-\x1f\x7f-\x9f]{1,500})$"
_ID_EXAMPLE = "8c2a0f5e-6a9e-5d0f-9f2e-3b3f5a0c9d11"


PurchaseRef = Annotated[str, Field(pattern=_PURCHASE_ID)]  # its id or its workflow id


def _student_in_path(
    student_id: Annotated[
        str,
        BeforeValidator(decoded),
        Path(
            pattern=STUDENT_ID,
            description="The student's id, URL-encoded, `/` too; `me` is the caller.",
            examples=["student-1", "me"],
        ),
    ],
    who: CallerDep,
) -> str:
    return who.subject if student_id == ME else student_id


StudentInPath = Annotated[str, Depends(_student_in_path)]
GivenInPath = Annotated[str, BeforeValidator(decoded), Path(pattern=GIVEN_PATTERN)]
PurchaseInPath = Annotated[
    str,
    BeforeValidator(decoded),
    Path(
        pattern=_PURCHASE_ID,
        description="The purchase's id, or its workflow id (`purchase:{paymentId}:{line}`), URL-encoded.",
        examples=[_ID_EXAMPLE, "purchase:pay-1:1"],
    ),
]


IdempotencyKey = Annotated[
    str | None,
    Header(
        pattern=r'^("[A-Za-z0-9._:@+-]{1,128}"|[A-Za-z0-9._:@+-]{1,128})$',
        description="Makes it happen once: the same key again is answered with the same purchase.",
    ),
]


def bare(key: str | None) -> str | None:
    """Return the key without the quotes it may come in."""
    return key.strip('"') if key else None


def purchase_id_from(given: str) -> str:
    """Return the purchase id of what the caller sent: an id as it is, a workflow id by its UUIDv5."""
    return purchase_id_of(given) if given.startswith("purchase:") else given.lower()
