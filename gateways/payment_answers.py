"""Decide what counts as the payment provider's answer: a load balancer or a wrong path may answer at its address, too.

A "no" counts only in the provider's own words, a "yes" only about what was asked and when its amounts add up. Anything
else is trouble, and the provider is asked again.
"""

from __future__ import annotations

from typing import Annotated, Literal, NoReturn, Self, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator
from pydantic.alias_generators import to_camel

from gateways.payment_types import (
    ProviderIntent,
    ProviderLine,
    ProviderPayment,
    ProviderRefund,
    ProviderRefused,
    ProviderTrouble,
)

# The provider's own words, with the HTTP status each comes with.
_UNKNOWN = {"payment_not_found": 404}
_ANY = {"refused_by_plan": 422}
_CREATING = {**_ANY, "invalid_request": 422, "payment_differs": 409}
_KEYED = {"idempotency_key_missing": 400, "idempotency_key_reused": 400}
NOES: dict[str, dict[str, int]] = {
    "get": {**_ANY, **_UNKNOWN},
    "cancel": {**_ANY, **_UNKNOWN},
    "create": _CREATING,
    "create_intent": {**_CREATING, **_KEYED, "not_pending": 422},
    "find_refund": {**_ANY, **_UNKNOWN, "refund_not_found": 404},
    "refund": {
        **_ANY, **_UNKNOWN, **_KEYED, "invalid_request": 422, "payment_not_succeeded": 422, "unknown_line": 422,
        "amount_too_small": 422, "amount_too_large": 422,
    },
}  # fmt: skip


def _printable(text: str) -> str:
    if not text.isprintable():
        raise ValueError("it holds what nobody can read, and PostgreSQL may not store")
    return text


_Id = Annotated[str, Field(min_length=1, max_length=255), AfterValidator(_printable)]
_Secret = Annotated[str, Field(min_length=1, max_length=1000), AfterValidator(_printable)]
_Minor = Annotated[int, Field(ge=0, le=2**53)]
_Currency = Annotated[str, Field(pattern=r"^[A-Z]{3}\z")]


class _Wire(BaseModel):
    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True, strict=True, extra="ignore")


class _No(_Wire):
    code: str
    message: str


class _Line(_Wire):
    line: Annotated[int, Field(ge=1)]
    amount_minor: _Minor
    refunded_minor: _Minor


class _Payment(_Wire):
    id: _Id
    student_id: str
    status: Literal["pending", "succeeded", "failed", "refunded", "partially_refunded"]
    amount_minor: _Minor
    currency: _Currency
    lines: Annotated[list[_Line], Field(min_length=1)]

    @model_validator(mode="after")
    def _adds_up(self) -> Self:
        if sum(line.amount_minor for line in self.lines) != self.amount_minor:
            raise ValueError("the lines do not add up to the amount")
        if len({line.line for line in self.lines}) != len(self.lines):
            raise ValueError("two lines have one number")
        if any(line.refunded_minor > line.amount_minor for line in self.lines):
            raise ValueError("more refunded than paid")
        if self.status == "succeeded" and any(line.refunded_minor for line in self.lines):
            raise ValueError("it is said to be held whole, and some was given back")
        if self.status == "refunded" and any(line.refunded_minor < line.amount_minor for line in self.lines):
            raise ValueError("it is said to be given back, and some was not")
        return self


class _Refund(_Wire):
    id: _Id
    payment_id: str
    line: int
    amount_minor: int
    currency: _Currency
    status: Literal["succeeded", "pending", "failed"]


class _Intent(_Wire):
    payment_id: str
    status: Literal["pending", "succeeded"]
    client_secret: _Secret


_Shape = TypeVar("_Shape", bound=BaseModel)


def refuse(operation: str, status: int, content: bytes) -> NoReturn:
    """Raise ProviderRefused for a "no" of this operation in the provider's own words, ProviderTrouble for any other."""
    try:
        no = _No.model_validate_json(content)
    except ValidationError:
        no = None
    if no is None or NOES[operation].get(no.code) != status:
        raise ProviderTrouble(f"{status} was answered, but not in the payment provider's own words")
    raise ProviderRefused(no.code, no.message, status)


def payment(content: bytes, payment_id: str) -> ProviderPayment:
    """Return the payment asked for. Raises ProviderTrouble for an answer that is unreadable or about another."""
    wire = _read(_Payment, content)
    _fits(wire.id == payment_id)
    lines = tuple(ProviderLine(line.line, line.amount_minor, line.refunded_minor) for line in wire.lines)
    return ProviderPayment(wire.id, wire.student_id, wire.status, wire.amount_minor, wire.currency, lines)


def created(content: bytes, asked: ProviderPayment) -> None:
    """Check that the payment is there as asked for, whatever its status is now. Raises ProviderTrouble if not."""
    there = payment(content, asked.id)
    _fits(
        (there.student_id, there.amount_minor, there.currency) == (asked.student_id, asked.amount_minor, asked.currency)
        and {line.line: line.amount_minor for line in there.lines}
        == {line.line: line.amount_minor for line in asked.lines}
    )


def refund(content: bytes, payment_id: str, *about: int) -> ProviderRefund:
    """Return the refund asked for; `about`: its line and amount, if known. Raises ProviderTrouble for any other."""
    wire = _read(_Refund, content)
    _fits(wire.payment_id == payment_id and (not about or (wire.line, wire.amount_minor) == about))
    return ProviderRefund(**wire.model_dump())


def intent(content: bytes, payment_id: str) -> ProviderIntent:
    """Return what the student confirms this payment with. Raises ProviderTrouble for any other answer."""
    wire = _read(_Intent, content)
    _fits(wire.payment_id == payment_id)
    return ProviderIntent(**wire.model_dump())


def _read(shape: type[_Shape], content: bytes) -> _Shape:
    try:
        return shape.model_validate_json(content)
    except ValidationError as error:
        raise ProviderTrouble("the payment provider's answer cannot be read") from error


def _fits(is_so: bool) -> None:
    if not is_so:
        raise ProviderTrouble("the payment provider answered about something else than was asked")
