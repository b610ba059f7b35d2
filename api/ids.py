"""The ids a caller may send, checked before anything else happens."""

from __future__ import annotations

from typing import Annotated

from fastapi import Header, Path
from pydantic import AfterValidator, Field, StringConstraints

from domain.purchase import purchase_id_of

ID_PATTERN = r"^[A-Za-z0-9_-]{1,64}$"
PERSON_PATTERN = r"^[A-Za-z0-9._:@+-]{1,200}$"
_PURCHASE_ID = r"^([0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}|purchase:[A-Za-z0-9_:.@+-]{1,200})$"
_ID_EXAMPLE = "8c2a0f5e-6a9e-5d0f-9f2e-3b3f5a0c9d11"


def _spoken(text: str) -> str:
    if not text.strip() or any(ord(char) < 32 or ord(char) == 127 for char in text):
        raise ValueError("must say something, without control characters")
    return text.strip()


PaymentId = Annotated[str, Field(pattern=ID_PATTERN)]
PersonId = Annotated[str, Field(pattern=PERSON_PATTERN)]  # a student, trainer or item: ids that others gave
Words = Annotated[str, StringConstraints(min_length=1, max_length=500), AfterValidator(_spoken)]  # a reason, a name
Key = Annotated[str, StringConstraints(min_length=1, max_length=128), AfterValidator(_spoken)]  # a request key

PersonInPath = Annotated[str, Path(pattern=PERSON_PATTERN)]
PurchaseInPath = Annotated[
    str,
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
