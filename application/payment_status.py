"""Update a payment's status from the provider, which knows it; our row follows from pending on (mission row 68)."""

from __future__ import annotations

from dataclasses import replace

import structlog

from application.context import Services
from db.checkouts import update_payment_status
from db.reads.payments import PaymentToStart
from gateways.payments import ProviderRefused, ProviderTrouble

_log = structlog.get_logger()


async def refresh_payment_status(services: Services, payment: PaymentToStart) -> PaymentToStart:
    """Ask the provider about a pending payment, store the status it has now and return the payment with it.

    Of several callers one makes the change. A provider that does not answer is no error: what is started asks it again.
    """
    if payment.status != "pending" or services.provider is None:
        return payment
    try:
        known = await services.ask(services.provider.get, payment.payment_id)
    except (ProviderTrouble, ProviderRefused) as error:
        _log.warning("payment_not_looked_up", payment_id=payment.payment_id, error=type(error).__name__)
        return payment
    if known is None or known.student_id != payment.student_id or known.status == "pending":
        return payment
    if await update_payment_status(services.engine, payment.payment_id, known.status):
        _log.info("payment_settled", payment_id=payment.payment_id, status=known.status)
    return replace(payment, status=known.status)
