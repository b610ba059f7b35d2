"""`POST /api/v1/checkout`: turn the caller's cart into one payment, priced only here (mission rows 2, 5, 92).

First key, payment and lines are committed; then the provider is asked, under the payment's own key; its answer is
stored and repeated. Whatever dies in between, the same request goes on from there.
"""

from __future__ import annotations

from typing import Annotated, Any
from uuid import uuid4

import structlog
from fastapi import APIRouter
from pydantic import ConfigDict, Field

from api.http.auth import CallerDep
from api.http.dependencies import ServicesDep
from api.http.idempotency import RequiredKey
from api.http.json_models import Answer, Body
from api.http.problems import problems
from application.context import Services
from application.errors import BadRequest, Conflict, InFlight, Unavailable, Unprocessable
from db.checkouts import (
    Key,
    KeyInFlight,
    StoredPayment,
    claiming,
    let_go,
    record_answer,
    store_payment,
    stored_payment,
)
from db.reads.cart import CartLine, cart_of
from db.reads.coins import balance_of
from db.request_keys import digest
from domain.ids import checkout_key_of
from domain.pricing import CannotBuy, ToBuy, bill_of
from gateways.payments import (
    PaymentProvider,
    ProviderIntent,
    ProviderLine,
    ProviderPayment,
    ProviderRefused,
    ProviderTrouble,
)

router = APIRouter(tags=["shop"])

_log = structlog.get_logger()
_UNPROCESSABLE = frozenset({"UNKNOWN_ITEM"})  # nothing was paid, so an item that is not there is the request's fault


class CheckoutBody(Body):
    """`coins`: how many coins to pay with, 1 minor unit each; no more are taken than the cart costs."""

    coins: Annotated[int, Field(ge=0, le=2**53)] = 0
    model_config = ConfigDict(json_schema_extra={"examples": [{"coins": 0}]})


class CheckoutLine(Answer):
    """One line of the payment; its price is `amountMinor` in money plus `coins`."""

    line: int
    item_type: str
    item_id: str
    cart_item_id: str
    amount_minor: int
    coins: int


class CheckoutAnswer(Answer):
    """The payment, and the `clientSecret` with which the browser confirms it at the provider.

    Amounts in minor units. `status`: pending, or succeeded when coins pay for all of it.
    """

    payment_id: str
    status: str
    amount_minor: int
    coins: int
    currency: str
    client_secret: str
    lines: list[CheckoutLine]
    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "paymentId": "pay-3f1c",
                    "status": "pending",
                    "amountMinor": 50000,
                    "coins": 0,
                    "currency": "USD",
                    "clientSecret": "pay-3f1c_secret_9d2e",
                    "lines": [
                        {
                            "line": 1,
                            "itemType": "course",
                            "itemId": "course-piano",
                            "cartItemId": "0d1f6c1e-0c57-4a6e-9d5c-6c1f0a3b2d11",
                            "amountMinor": 50000,
                            "coins": 0,
                        }
                    ],
                }
            ]
        }
    )


@router.post("/api/purchase", status_code=201, include_in_schema=False)
@router.post("/api/purchases", status_code=201, include_in_schema=False)
@router.post(
    "/api/v1/checkout",
    status_code=201,
    summary="Make one payment of the cart",
    responses=problems(BadRequest, Conflict, InFlight, Unprocessable, Unavailable),
)
async def checkout(body: CheckoutBody, services: ServicesDep, who: CallerDep, key: RequiredKey) -> CheckoutAnswer:
    """Every item in the cart becomes a line; it stays in the cart until its purchase is done.

    The same request with the same key gets the same answer and never makes a second payment. A cart that cannot be paid
    leaves nothing behind, not even the key. Old clients may use `/api/purchases` or `/api/purchase`.
    """
    provider = services.provider
    if provider is None:
        raise provider_unavailable()
    payment, answer = await _claimed(services, who.subject, key, body)
    if answer is not None:
        return CheckoutAnswer.model_validate(answer)
    try:
        intent = await services.ask(_intent, provider, payment)
    except ProviderTrouble as trouble:
        await let_go(services.engine, payment.payment_id)
        _log.warning("payment_provider_unavailable", payment_id=payment.payment_id, error=str(trouble))
        raise provider_unavailable() from trouble
    except ProviderRefused as refused:
        await let_go(services.engine, payment.payment_id)
        _log.error("payment_refused_by_provider", payment_id=payment.payment_id, code=refused.code)
        raise Conflict(code="PAYMENT_REFUSED", detail="The payment provider does not accept this payment.") from refused
    said = _answer(payment, intent)
    await record_answer(services.engine, payment.payment_id, said.model_dump(by_alias=True), intent.status)
    _log.info("checkout_done", payment_id=payment.payment_id, student_id=payment.student_id, lines=len(payment.lines))
    return said


def provider_unavailable() -> Unavailable:
    return Unavailable(code="PROVIDER_UNAVAILABLE", detail="The payment provider does not answer right now.")


async def _claimed(
    services: Services, student_id: str, key: str, body: CheckoutBody
) -> tuple[StoredPayment, dict[str, Any] | None]:
    """Return the payment of this key, new or found, and the answer it had."""
    keyed = Key(student_id, "checkout", key, digest(body.model_dump()))
    try:
        async with claiming(services.engine, keyed, f"pay-{uuid4().hex}") as (conn, claim):
            if claim.is_new:
                cart = [to_buy(line) for line in await cart_of(conn, student_id)]
                bill = bill_of(cart, coins=body.coins, balance=await balance_of(conn, student_id, None) or 0)
                await store_payment(conn, claim.payment_id, student_id, bill, services.clock())
            return await stored_payment(conn, claim.payment_id), claim.answer
    except CannotBuy as no:
        problem = Unprocessable if no.code in _UNPROCESSABLE else Conflict
        raise problem(code=no.code, detail=no.message) from no
    except KeyInFlight as busy:
        raise InFlight(detail="A request with this key is being answered right now.") from busy


def to_buy(line: CartLine) -> ToBuy:
    """Return a cart item as it is priced."""
    return ToBuy(line.id, line.item_type, line.item_id, line.details, line.price_minor, line.currency, line.open)


def _intent(provider: PaymentProvider, payment: StoredPayment) -> ProviderIntent:
    """Create the intent at the provider. If the outcome is unknown, ask again: the same key tells."""
    wanted = ProviderPayment(
        payment.payment_id,
        payment.student_id,
        "pending",
        payment.amount_minor,
        payment.currency,
        tuple(ProviderLine(line.line, line.amount_minor) for line in payment.lines),
    )
    key = checkout_key_of(payment.payment_id)
    try:
        return provider.create_intent(key, wanted)
    except ProviderTrouble:
        return provider.create_intent(key, wanted)


def _answer(payment: StoredPayment, intent: ProviderIntent) -> CheckoutAnswer:
    return CheckoutAnswer(
        payment_id=payment.payment_id,
        status=intent.status,
        amount_minor=payment.amount_minor,
        coins=sum(line.coins for line in payment.lines),
        currency=payment.currency,
        client_secret=intent.client_secret,
        lines=[
            CheckoutLine(
                line=line.line,
                item_type=line.item_type,
                item_id=line.item_id,
                cart_item_id=line.metadata["processingItemId"],
                amount_minor=line.amount_minor,
                coins=line.coins,
            )
            for line in payment.lines
        ],
    )
