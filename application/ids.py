"""Types of the ids, keys and texts that callers send; each is checked before anything else happens."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, Field, StringConstraints

from domain.days import DAY, day_of
from domain.students import ME, STUDENT_ID, is_student_id

ID_PATTERN = r"^[A-Za-z0-9_-]{1,64}$"
GIVEN_PATTERN = r"^[^\x00-\x1f\x7f-\x9f]{1,200}$"


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
