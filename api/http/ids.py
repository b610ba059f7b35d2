"""The ids a caller may send, checked before anything else happens."""

from __future__ import annotations

from typing import Annotated

from fastapi import Depends, Header, Path
from pydantic import AfterValidator, BeforeValidator, Field, StringConstraints

from api.http.auth import CallerDep
from api.http.paths import decoded
from domain.days import DAY, day_of
from domain.ids import purchase_id_of
from domain.students import ME, STUDENT_ID, is_student_id

ID_PATTERN = r"^[A-Za-z0-9_-]{1,64}$"
GIVEN_PATTERN = r"^[^\x00-\x1f\x7f-\x9f]{1,200}$"
_PURCHASE_ID = r"^([0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}|purchase:[^\x00-\x1f\x7f-\x9f]{1,500})$"
_ID_EXAMPLE = "8c2a0f5e-6a9e-5d0f-9f2e-3b3f5a0c9d11"


def _spoken(text: str) -> str:
    if not text.strip() or any(ord(char) < 32 or ord(char) == 127 for char in text):
        raise ValueError("must say something, without control characters")
    return text.strip()


def _day(said: str) -> str:
    if day_of(said) is None:
        raise ValueError(f"must be {DAY}")
    return said


def _a_student(student_id: str) -> str:
    if not is_student_id(student_id):
        raise ValueError(f"no student is called {ME}")
    return student_id


PaymentId = Annotated[str, Field(pattern=ID_PATTERN)]
StudentId = Annotated[str, Field(pattern=STUDENT_ID), AfterValidator(_a_student)]
GivenId = Annotated[str, Field(pattern=GIVEN_PATTERN)]  # a trainer, an item, a thing in a cart: as others call it
Words = Annotated[str, StringConstraints(min_length=1, max_length=500), AfterValidator(_spoken)]  # a reason, a name
Key = Annotated[str, StringConstraints(min_length=1, max_length=128), AfterValidator(_spoken)]  # a request key
Day = Annotated[str, Field(pattern=r"^[0-9]{4}-[0-9]{2}-[0-9]{2}$"), AfterValidator(_day)]

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
    """The key without the quotes it may come in."""
    return key.strip('"') if key else None


def purchase_id_from(given: str) -> str:
    """The purchase id of what the caller sent: an id as it is, a workflow id by its UUIDv5."""
    return purchase_id_of(given) if given.startswith("purchase:") else given.lower()
