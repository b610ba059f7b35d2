"""The payment provider over HTTP (spec section 10); what counts as its answer: see payment_answers."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from types import TracebackType
from typing import Any

import httpx2

from gateways import payment_answers as answers
from gateways.deadline import TimedTransport, within
from gateways.payment_types import (
    PAID,
    PaymentProvider,
    ProviderIntent,
    ProviderLine,
    ProviderPayment,
    ProviderRefund,
    ProviderRefused,
    ProviderTrouble,
)

__all__ = [
    "PAID",
    "HttpPaymentProvider",
    "PaymentProvider",
    "ProviderIntent",
    "ProviderLine",
    "ProviderPayment",
    "ProviderRefund",
    "ProviderRefused",
    "ProviderTrouble",
]

PAYMENT_ID = re.compile(r"[A-Za-z0-9_-]{1,64}")
_TROUBLE = frozenset({408, 425, 429})  # besides every 5xx (mission row 54)
_LARGEST = 1 << 20  # bytes of an answer, unpacked; the provider's own have a few hundred


class HttpPaymentProvider:
    """PaymentProvider over HTTP. One connection pool, safe to share between threads; nothing is retried here.

    `timeout` is seconds for a whole call, however slowly its answer comes (mission row 51).
    """

    def __init__(self, base_url: str, timeout: float = 10) -> None:
        # The environment's proxies are for the outside world; the provider is named by its address.
        self._client = httpx2.Client(
            base_url=base_url,
            timeout=timeout,
            trust_env=False,
            transport=TimedTransport(),
            headers={"Accept-Encoding": "identity"},
        )
        self._timeout = timeout

    def __enter__(self) -> HttpPaymentProvider:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections. The client is not usable afterwards."""
        self._client.close()

    def get(self, payment_id: str) -> ProviderPayment | None:
        """See PaymentProvider.get. Returns None without asking for an id that no payment can have."""
        if PAYMENT_ID.fullmatch(payment_id) is None:
            return None
        try:
            return answers.payment(self._call("get", "GET", f"/payments/{payment_id}"), payment_id)
        except ProviderRefused as refusal:
            if refusal.code == "payment_not_found":
                return None
            raise

    def refund(self, refund_id: str, payment_id: str, line: int, amount_minor: int) -> ProviderRefund:
        """See PaymentProvider.refund."""
        body = {"line": line, "amountMinor": amount_minor}
        path = f"/payments/{_checked(payment_id)}/refunds"
        said = self._call("refund", "POST", path, body, headers={"Idempotency-Key": refund_id})
        return answers.refund(said, payment_id, line, amount_minor)

    def find_refund(self, refund_id: str, payment_id: str) -> ProviderRefund | None:
        """See PaymentProvider.find_refund."""
        path = f"/payments/{_checked(payment_id)}/refunds"
        try:
            return answers.refund(self._call("find_refund", "GET", path, params={"key": refund_id}), payment_id)
        except ProviderRefused as refusal:
            if refusal.code == "refund_not_found":
                return None
            raise

    def cancel(self, payment_id: str) -> ProviderPayment:
        """See PaymentProvider.cancel."""
        said = self._call("cancel", "POST", f"/payments/{_checked(payment_id)}/cancel")
        return answers.payment(said, payment_id)

    def create(self, payment: ProviderPayment) -> bool:
        """See PaymentProvider.create. Raises ProviderRefused("payment_differs") for the same id with other content."""
        status, said = self._answer("create", "POST", "/payments", _body(payment))
        answers.created(said, payment)
        return status == 201

    def create_intent(self, key: str, payment: ProviderPayment) -> ProviderIntent:
        """See PaymentProvider.create_intent. Raises ProviderRefused for the same key or id with other content."""
        headers = {"Idempotency-Key": key}
        said = self._call("create_intent", "POST", "/payment_intents", _body(payment), headers=headers)
        return answers.intent(said, payment.id)

    def _call(self, operation: str, method: str, path: str, body: object = None, **more: Any) -> bytes:
        return self._answer(operation, method, path, body, **more)[1]

    def _answer(self, operation: str, method: str, path: str, body: object = None, **more: Any) -> tuple[int, bytes]:
        try:
            with within(self._timeout), self._client.stream(method, path, json=body, **more) as answer:
                said = _read(answer)
        except httpx2.RequestError as error:  # no answer: refused, reset, timed out, cut in the middle
            raise ProviderTrouble(f"the payment provider did not answer: {type(error).__name__}") from error
        if answer.is_success:
            return answer.status_code, said
        if 400 <= answer.status_code < 500 and answer.status_code not in _TROUBLE:
            answers.refuse(operation, answer.status_code, said)
        raise ProviderTrouble(f"the payment provider answered {answer.status_code}", _retry_after(answer))


def _read(answer: httpx2.Response) -> bytes:
    said = bytearray()
    for part in answer.iter_bytes():
        said += part
        if len(said) > _LARGEST:
            raise ProviderTrouble("the payment provider's answer has no end")
    return bytes(said)


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


def _checked(payment_id: str) -> str:
    """Return the id, safe in a path. Raises ProviderRefused, without asking, for an id that no payment can have."""
    if PAYMENT_ID.fullmatch(payment_id) is None:
        raise ProviderRefused("invalid_payment_id", "this is no payment id", 400)
    return payment_id


def _retry_after(answer: httpx2.Response) -> float | None:
    """Return the seconds of Retry-After, from either of its two forms; None if absent or unreadable."""
    value = answer.headers.get("retry-after", "").strip()
    if value.isdecimal():
        return float(value)
    try:
        at = parsedate_to_datetime(value)
    except ValueError:
        return None
    return max(0.0, (at.replace(tzinfo=at.tzinfo or UTC) - datetime.now(UTC)).total_seconds())
