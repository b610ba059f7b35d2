"""The payment provider in memory, for tests of what calls it; the process that stands in for it is `process.py`."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from threading import Lock

from gateways.payments import ProviderIntent, ProviderPayment, ProviderRefund, ProviderRefused


@dataclass
class FakeProvider:
    """`gateways.payments.PaymentProvider` in memory; `calls` names each call made of it."""

    payments: dict[str, ProviderPayment] = field(default_factory=dict[str, ProviderPayment])
    refunds: dict[str, ProviderRefund] = field(default_factory=dict[str, ProviderRefund])
    intents: dict[str, ProviderIntent] = field(default_factory=dict[str, ProviderIntent])
    calls: list[str] = field(default_factory=list[str])
    _before: dict[str, Exception] = field(default_factory=dict[str, Exception])
    _after: dict[str, Exception] = field(default_factory=dict[str, Exception])
    _one_at_a_time: Lock = field(default_factory=Lock)

    def get(self, payment_id: str) -> ProviderPayment | None:
        self._call("get")
        return self.payments.get(payment_id)

    def refund(self, refund_id: str, payment_id: str, line: int, amount_minor: int) -> ProviderRefund:
        self._call("refund")
        with self._one_at_a_time:
            if refund_id not in self.refunds:
                self.refunds[refund_id] = self._refund(payment_id, line, amount_minor)
        if "refund" in self._after:
            raise self._after.pop("refund")
        return self.refunds[refund_id]

    def find_refund(self, refund_id: str, payment_id: str) -> ProviderRefund | None:
        self._call("find_refund")
        return self.refunds.get(refund_id)

    def by_hand(self, amount_minor: int, payment_id: str = "pay-1", line: int = 1) -> None:
        """Somebody gives back part of a line at the provider, past every key of ours."""
        with self._one_at_a_time:
            self._refund(payment_id, line, amount_minor)

    def cancel(self, payment_id: str) -> ProviderPayment:
        self._call("cancel")
        payment = self.payments[payment_id]
        if payment.status == "pending":
            self.payments[payment_id] = payment = replace(payment, status="failed")
        return payment

    def create(self, payment: ProviderPayment) -> bool:
        self._call("create")
        new = payment.id not in self.payments
        self.payments.setdefault(payment.id, payment)
        return new

    def create_intent(self, key: str, payment: ProviderPayment) -> ProviderIntent:
        self._call("create_intent")
        with self._one_at_a_time:
            if key not in self.intents:
                if payment.id in self.payments:
                    raise ProviderRefused("payment_differs", "there is another payment under this id", 409)
                status = "pending" if payment.amount_minor else "succeeded"
                self.payments[payment.id] = replace(payment, status=status)
                self.intents[key] = ProviderIntent(payment.id, status, f"{payment.id}_secret")
        if "create_intent" in self._after:
            raise self._after.pop("create_intent")
        return self.intents[key]

    def set_status(self, payment_id: str, status: str) -> None:
        """What the provider says of a payment from now on."""
        self.payments[payment_id] = replace(self.payments[payment_id], status=status)

    def fail(self, call: str, error: Exception) -> None:
        """The next such call (get, refund, cancel, create, create_intent) raises this and nothing happens."""
        self._before[call] = error

    def lose_the_answer(self, error: Exception, call: str = "refund") -> None:
        """The next refund (or `call`) happens, then the call raises this: "did it, then said timeout"."""
        self._after[call] = error

    def _call(self, name: str) -> None:
        self.calls.append(name)
        if name in self._before:
            raise self._before.pop(name)

    def _refund(self, payment_id: str, line: int, amount_minor: int) -> ProviderRefund:
        payment = self.payments[payment_id]
        of = payment.line(line)
        if of is None or payment.status not in ("succeeded", "partially_refunded"):
            raise ProviderRefused("not_refundable", "nothing to give back", 409)
        if of.refunded_minor + amount_minor > of.amount_minor:
            raise ProviderRefused("amount_too_large", "more than was paid", 422)
        lines = tuple(
            replace(each, refunded_minor=each.refunded_minor + amount_minor) if each.line == line else each
            for each in payment.lines
        )
        whole = all(each.refunded_minor == each.amount_minor for each in lines)
        self.payments[payment_id] = replace(payment, lines=lines, status="refunded" if whole else "partially_refunded")
        return ProviderRefund(
            f"re_{len(self.refunds) + 1}", payment_id, line, amount_minor, payment.currency, "succeeded"
        )
