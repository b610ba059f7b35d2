"""Request and answer bodies of `POST /api/v1/purchases`: for a payment, a purchase, and the direct door."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self, cast

from pydantic import ConfigDict, Discriminator, Field, RootModel, Tag, model_validator
from pydantic.config import JsonDict

from api.http.ids import PurchaseRef
from api.http.json_models import Answer, Body
from application.ids import GivenId, PaymentId, StudentId, Words
from application.storable_json import FreeObject

_DIRECT: JsonDict = {
    "studentId": "student-1",
    "courseId": "course-piano",
    "purchaseTier": 20,
    "expiryDate": "2027-12-31",
    "metadata": {"startDate": "2026-12-01", "timeSlot": "18:00"},
    "reason": "won in the spring draw",
}
_OF_PAYMENT: JsonDict = {"paymentId": "pay-1"}
_OF_PURCHASE: JsonDict = {"purchaseId": "purchase:manual:ticket-4711"}
_LINE: JsonDict = {
    "line": 1,
    "id": "5a1b7ad3-7b4f-5b8e-9c51-0a6d1b1f3c7e",
    "workflowId": "purchase:pay-1:1",
    "state": "started",
}
_DATA: JsonDict = {
    "id": "8c2a0f5e-6a9e-5d0f-9f2e-3b3f5a0c9d11",
    "workflowId": "purchase:manual:ticket-4711",
    "paymentId": None,
    "line": 1,
    "studentId": "student-1",
    "state": "started",
}


class StartPurchases(Body):
    """The payment to turn into purchases."""

    payment_id: PaymentId
    model_config = ConfigDict(json_schema_extra={"examples": [_OF_PAYMENT]})


class StartAgain(Body):
    """The purchase to start again, by id or workflow id: one without an ending whose run was closed or lost."""

    purchase_id: PurchaseRef
    model_config = ConfigDict(json_schema_extra={"examples": [_OF_PURCHASE]})


class DirectPurchase(Body):
    """A course, or another item, for a student by hand; with `paymentId`, that payment's line of it.

    `line`: which, if there are two. `courseId` names a course, `itemType` and `itemId` any item. `metadata` says when
    the lessons are to be: startDate and timeSlot, unless the payment does. `supersede` gives the item anew although the
    student has it. `reason` is required of admins.
    """

    student_id: StudentId
    course_id: GivenId | None = None
    item_type: Literal["course", "subject", "bundle", "test"] | None = None
    item_id: GivenId | None = None
    purchase_tier: int | None = Field(default=None, ge=-1_000_000, le=1_000_000)
    expiry_date: str | None = Field(default=None, pattern=r"^[0-9]{4}-[0-9]{2}-[0-9]{2}$")
    metadata: FreeObject = Field(default_factory=dict[str, Any])
    payment_id: PaymentId | None = None
    line: int | None = Field(default=None, ge=1, le=1_000_000)
    reason: Words | None = None
    supersede: bool = False
    model_config = ConfigDict(json_schema_extra={"examples": [_DIRECT]})

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if (self.item_type is None) != (self.item_id is None) or (self.course_id is None) == (self.item_id is None):
            raise ValueError("say what: courseId, or itemType and itemId")
        if self.payment_id is None and self.line is not None:
            raise ValueError("a line is of a payment: say paymentId")
        if self.payment_id is not None and self.supersede:
            raise ValueError("a payment supersedes by itself: leave supersede out")
        return self

    @property
    def item(self) -> tuple[str, str]:
        """Return type and id of the item."""
        return (self.item_type, self.item_id) if self.item_type and self.item_id else ("course", str(self.course_id))

    def said(self) -> dict[str, Any]:
        """Return the request as a source of metadata; what is beside `metadata` wins over what is in it."""
        item_type, item_id = self.item
        course = item_id if item_type == "course" else None
        beside = {"courseId": course, "purchaseTier": self.purchase_tier, "expiryDate": self.expiry_date}
        return {**self.metadata, **{name: value for name, value in beside.items() if value is not None}}


def _shape(body: Any) -> str:
    """Return the kind of request: `again` if it names a purchase, `payment` if a payment alone, else `direct`."""
    names: set[Any] = set(cast("dict[Any, Any]", body)) if isinstance(body, dict) else set()
    if names & {"purchaseId", "purchase_id"}:
        return "again"
    return "direct" if names - {"paymentId", "payment_id"} else "payment"


class StartBody(
    RootModel[
        Annotated[
            Annotated[StartPurchases, Tag("payment")]
            | Annotated[StartAgain, Tag("again")]
            | Annotated[DirectPurchase, Tag("direct")],
            Discriminator(_shape),
        ]
    ]
):
    """A payment, to start all its lines; a purchase, to start it again; or an item, to give it to a student."""

    model_config = ConfigDict(json_schema_extra={"examples": [_OF_PAYMENT, _OF_PURCHASE, _DIRECT]})


class StartedLine(Answer):
    """One line. `state`: started (by this call), running, completed, refused or cancelled."""

    line: int
    id: str
    workflow_id: str
    state: str


class StartedLines(Answer):
    """One entry per line of the payment, or the one of the purchase."""

    lines: list[StartedLine]
    model_config = ConfigDict(json_schema_extra={"examples": [{"lines": [_LINE]}]})


class PurchaseData(Answer):
    """The purchase that answers the request. `state`: started (by this call), running or completed."""

    id: str
    workflow_id: str
    payment_id: str | None
    line: int
    student_id: str
    state: str


class PurchaseEnvelope(Answer):
    """What the direct and the free door answer."""

    success: bool
    message: str
    data: PurchaseData
    model_config = ConfigDict(
        json_schema_extra={"examples": [{"success": True, "message": "Purchase created successfully", "data": _DATA}]}
    )


class StartAnswer(RootModel[StartedLines | PurchaseEnvelope]):
    """For a payment or a purchase: its lines. From the direct door: the purchase in its envelope."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"lines": [_LINE]}]})
