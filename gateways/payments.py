"""The payment provider: what we ask of it, and the client that asks over HTTP (spec section 10)."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from types import TracebackType
from typing import Any, Protocol, TypeVar

import httpx2
from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError
from pydantic.alias_generators import to_camel

PAYMENT_ID = re.compile(r"[A-Za-z0-9_-]{1,64}")
_TROUBLE = frozenset({408, 425, 429})  # besides every 5xx (mission row 54)
_Answer = TypeVar("_Answer")


@dataclass(frozen=True)
class ProviderLine:
    """One line of a payment: its share of the amount, and how much of that was given back (minor units)."""

    line: int
    amount_minor: int
    refunded_minor: int = 0


@dataclass(frozen=True)
class ProviderPayment:
    """A payment as the provider knows it. `status`: pending, succeeded, failed, refunded, partially_refunded."""

    id: str
    student_id: str
    status: str
    amount_minor: int
    currency: str
    lines: tuple[ProviderLine, ...]

    def line(self, number: int) -> ProviderLine | None:
        """The line of this number, None if the payment has no such line."""
        return next((line for line in self.lines if line.line == number), None)


@dataclass(frozen=True)
class ProviderRefund:
    """Money given back. `id` is the provider's own, not our refund id. `status`: succeeded."""

    id: str
    payment_id: str
    line: int
    amount_minor: int
    currency: str
    status: str


@dataclass(frozen=True)
class ProviderIntent:
    """A payment that the student is to confirm: `client_secret` is what their browser does it with."""

    payment_id: str
    status: str
    client_secret: str


class ProviderTrouble(Exception):
    """No usable answer: it may or may not have happened. Retried. `retry_after`: seconds the provider asked for."""

    def __init__(self, message: str, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class ProviderRefused(Exception):
    """A clear "no" of the provider, nothing was done. `code` is the provider's word, `status` its HTTP status."""

    def __init__(self, code: str, message: str, status: int = 422) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.status = status


class PaymentProvider(Protocol):
    """What we ask of a payment provider. Every call raises ProviderTrouble or ProviderRefused, nothing else."""

    def get(self, payment_id: str) -> ProviderPayment | None:
        """The payment with its lines and what was refunded of each; None if there is no such payment."""
        ...

    def refund(self, refund_id: str, payment_id: str, line: int, amount_minor: int) -> ProviderRefund:
        """Give back `amount_minor` of a line. `refund_id` is the idempotency key: one id, one refund, for ever."""
        ...

    def cancel(self, payment_id: str) -> ProviderPayment:
        """Make a pending payment fail. Any other payment stays as it is and is returned."""
        ...

    def create(self, payment: ProviderPayment) -> bool:
        """Put a payment there under its own id. True if it is new, False if it was there with the same content."""
        ...

    def create_intent(self, key: str, payment: ProviderPayment) -> ProviderIntent:
        """Create a pending payment for the student to confirm; one of amount 0 has succeeded at once.

        `key` is the idempotency key: asking again under it tells what came of the first call.
        """
        ...


class _Wire(BaseModel):
    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True, strict=True, extra="ignore")


class _LineAnswer(_Wire):
    line: int
    amount_minor: int
    refunded_minor: int


class _PaymentAnswer(_Wire):
    id: str
    student_id: str
    status: str
    amount_minor: int
    currency: str
    lines: list[_LineAnswer]


class _RefundAnswer(_Wire):
    id: str
    payment_id: str
    line: int
    amount_minor: int
    currency: str
    status: str


class _IntentAnswer(_Wire):
    payment_id: str
    status: str
    client_secret: str


def _intent(answer: httpx2.Response) -> ProviderIntent:
    return ProviderIntent(**_IntentAnswer.model_validate_json(answer.content).model_dump())


def _payment(answer: httpx2.Response) -> ProviderPayment:
    wire = _PaymentAnswer.model_validate_json(answer.content)
    lines = tuple(ProviderLine(line.line, line.amount_minor, line.refunded_minor) for line in wire.lines)
    return ProviderPayment(wire.id, wire.student_id, wire.status, wire.amount_minor, wire.currency, lines)


def _refund(answer: httpx2.Response) -> ProviderRefund:
    return ProviderRefund(**_RefundAnswer.model_validate_json(answer.content).model_dump())


class HttpPaymentProvider:
    """PaymentProvider over HTTP. One connection pool, safe to share between threads; nothing is retried here.

    `timeout` is seconds for each of connecting, sending and each wait for bytes (mission row 51).
    """

    def __init__(self, base_url: str, timeout: float = 10) -> None:
        # The environment's proxies are for the outside world; the provider is named by its address.
        self._client = httpx2.Client(base_url=base_url, timeout=timeout, trust_env=False)

    def __enter__(self) -> HttpPaymentProvider:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections. The client is not usable afterwards."""
        self._client.close()

    def get(self, payment_id: str) -> ProviderPayment | None:
        """See PaymentProvider.get. An id that no payment can have is answered None without asking."""
        if PAYMENT_ID.fullmatch(payment_id) is None:
            return None
        try:
            return _read(self._call("GET", f"/payments/{payment_id}"), _payment)
        except ProviderRefused as refusal:
            if refusal.status == 404:
                return None
            raise

    def refund(self, refund_id: str, payment_id: str, line: int, amount_minor: int) -> ProviderRefund:
        """See PaymentProvider.refund."""
        body = {"line": line, "amountMinor": amount_minor}
        path = f"/payments/{_checked(payment_id)}/refunds"
        return _read(self._call("POST", path, body, {"Idempotency-Key": refund_id}), _refund)

    def cancel(self, payment_id: str) -> ProviderPayment:
        """See PaymentProvider.cancel."""
        return _read(self._call("POST", f"/payments/{_checked(payment_id)}/cancel"), _payment)

    def create(self, payment: ProviderPayment) -> bool:
        """See PaymentProvider.create. The same id with other content is ProviderRefused("payment_differs")."""
        return self._call("POST", "/payments", _body(payment)).status_code == 201

    def create_intent(self, key: str, payment: ProviderPayment) -> ProviderIntent:
        """See PaymentProvider.create_intent. The same key or id with other content is ProviderRefused."""
        return _read(self._call("POST", "/payment_intents", _body(payment), {"Idempotency-Key": key}), _intent)

    def _call(
        self, method: str, path: str, body: object = None, headers: dict[str, str] | None = None
    ) -> httpx2.Response:
        try:
            answer = self._client.request(method, path, json=body, headers=headers)
        except httpx2.RequestError as error:  # no answer: refused, reset, timed out, cut in the middle
            raise ProviderTrouble(f"the payment provider did not answer: {type(error).__name__}") from error
        if answer.is_success:
            return answer
        if 400 <= answer.status_code < 500 and answer.status_code not in _TROUBLE:
            raise _refusal(answer)
        raise ProviderTrouble(f"the payment provider answered {answer.status_code}", _retry_after(answer))


def _body(payment: ProviderPayment) -> dict[str, Any]:
    return {
        "id": _checked(payment.id),
        "studentId": payment.student_id,
        "status": payment.status,
        "amountMinor": payment.amount_minor,
        "currency": payment.currency,
        "lines": [
            {"line": line.line, "amountMinor": line.amount_minor, "refundedMinor": line.refunded_minor}
            for line in payment.lines
        ],
    }


def _read(answer: httpx2.Response, shape: Callable[[httpx2.Response], _Answer]) -> _Answer:
    """The answer in our types. Something else than a payment provider may answer 200, too: that is trouble."""
    try:
        return shape(answer)
    except ValidationError as error:
        raise ProviderTrouble("the payment provider's answer cannot be read") from error


def _checked(payment_id: str) -> str:
    """The id, safe in a path. An id that no payment can have is refused without asking."""
    if PAYMENT_ID.fullmatch(payment_id) is None:
        raise ProviderRefused("invalid_payment_id", "this is no payment id", 400)
    return payment_id


def _refusal(answer: httpx2.Response) -> ProviderRefused:
    try:
        body = TypeAdapter(dict[str, Any]).validate_json(answer.content)
    except ValidationError:
        body = {}
    code, message = body.get("code"), body.get("message")
    return ProviderRefused(
        code if isinstance(code, str) else f"http_{answer.status_code}",
        message if isinstance(message, str) else f"the payment provider answered {answer.status_code}",
        answer.status_code,
    )


def _retry_after(answer: httpx2.Response) -> float | None:
    """Retry-After in seconds, from either of its two forms; None if absent or unreadable."""
    value = answer.headers.get("retry-after", "").strip()
    if value.isdecimal():
        return float(value)
    try:
        at = parsedate_to_datetime(value)
    except ValueError:
        return None
    return max(0.0, (at.replace(tzinfo=at.tzinfo or UTC) - datetime.now(UTC)).total_seconds())
