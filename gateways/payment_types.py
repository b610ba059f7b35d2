"""The payment provider as the rest of the program sees it: what is asked of it, and what it answers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

PAID = ("succeeded", "partially_refunded")  # the provider holds money of it; a line may be given back all the same


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

    def held(self, number: int) -> int:
        """Return how much of this line's money the provider holds (minor units): 0 unless the payment was paid."""
        line = self.line(number)
        return line.amount_minor - line.refunded_minor if line and self.status in PAID else 0

    def line(self, number: int) -> ProviderLine | None:
        """Return the line of this number, None if the payment has no such line."""
        return next((line for line in self.lines if line.line == number), None)


@dataclass(frozen=True)
class ProviderRefund:
    """Money given back. `id` is the provider's own, not our refund id. `status`: succeeded, pending, failed."""

    id: str
    payment_id: str
    line: int
    amount_minor: int
    currency: str
    status: str


@dataclass(frozen=True)
class ProviderIntent:
    """A payment that the student is to confirm; their browser does so with `client_secret`."""

    payment_id: str
    status: str
    client_secret: str


class ProviderTrouble(Exception):
    """No usable answer came: the call may have worked or not. It is retried. `retry_after`: seconds asked for."""

    def __init__(self, message: str, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class ProviderRefused(Exception):
    """The provider clearly said "no" and did nothing. `code` is its own word for why, `status` its HTTP status."""

    def __init__(self, code: str, message: str, status: int = 422) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.status = status


class PaymentProvider(Protocol):
    """What we ask of a payment provider. Every call raises ProviderTrouble or ProviderRefused, nothing else."""

    def get(self, payment_id: str) -> ProviderPayment | None:
        """Return the payment with its lines and what was refunded of each; None if there is no such payment."""
        ...

    def refund(self, refund_id: str, payment_id: str, line: int, amount_minor: int) -> ProviderRefund:
        """Give back `amount_minor` of a line. `refund_id` is the idempotency key: one id, one refund, for ever."""
        ...

    def find_refund(self, refund_id: str, payment_id: str) -> ProviderRefund | None:
        """Return the refund that was asked for under this id; None if nothing was ever given back under it."""
        ...

    def cancel(self, payment_id: str) -> ProviderPayment:
        """Make a pending payment fail. Any other payment stays as it is and is returned."""
        ...

    def create(self, payment: ProviderPayment) -> bool:
        """Create a payment under its own id. Return True if it is new, False if it was there with the same content."""
        ...

    def create_intent(self, key: str, payment: ProviderPayment) -> ProviderIntent:
        """Create a pending payment for the student to confirm; one of amount 0 succeeds at once.

        `key` is the idempotency key: asking again under it returns the first call's answer.
        """
        ...
